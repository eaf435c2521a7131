"""Attention with a bias of relative positions: BEiT, ViTs with relative positions, SAM's encoder.

Shapes: B batch (times windows), N tokens, M keys (= N), C width, H heads, D head width.
"""

from typing import Any

from torch import Tensor

from karat.attention.part import Part
from karat.models.wrappers.base import (
    HostAttention,
    projected_with_biases,
    refuse_other_windows,
)


class KArAtBeitAttention(HostAttention):
    """For the `Attention` of BEiT and BEiT v2, with a table of biases of its own, of the model, or both."""

    def init_non_persistent_buffers(self) -> None:
        """Compute the index of the bias table; timm calls this after loading onto another device."""
        self._timm._init_buffers(self)

    def set_window_size(self, window_size: tuple[int, int]) -> None:
        """Called by timm's `set_input_size`; only the size of the operator is possible.

        Raises:
            ValueError: the operator was made for another size.
        """
        if self.window_size is not None:
            refuse_other_windows(self, window_size)

    def forward(self, x_BNC: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
        """Attention output, shape (B, N, C).

        Args:
            x_BNC: tokens.
            shared_rel_pos_bias: added to the scores, (1, H, N, N), in models whose blocks share one table.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND, v_BHND = self._heads(projected_with_biases(self, x_BNC), 3)
        bias = shared_rel_pos_bias
        if self.relative_position_bias_table is not None:
            own = self._timm._get_rel_pos_bias(self)
            bias = own if bias is None else own + bias
        return self._projected(self._attend((q_BHND, k_BHND, v_BHND), x_BNC, bias))


class KArAtRelPosAttention(HostAttention):
    """For the `RelPosAttention` of timm's ViTs with relative positions: a table, or a network of coordinates."""

    def forward(self, x_BNC: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        """Attention output, shape (B, N, C).

        Args:
            x_BNC: tokens.
            shared_rel_pos: added to the scores, (1, H, N, N), in models whose blocks share one bias.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND, v_BHND = self._heads(self.qkv(x_BNC), 3)
        qkv = self.q_norm(q_BHND), self.k_norm(k_BHND), v_BHND
        bias = shared_rel_pos if self.rel_pos is None else self.rel_pos.get_bias()
        return self._projected(self._attend(qkv, x_BNC, bias))


class KArAtSamAttention(HostAttention):
    """For the `Attention` of SAM's encoder, in windows and global.

    The bias of a pair is the product of the query with a vector of its distance, apart for rows and columns. Source:
    arXiv 2304.02643 and, for the bias, arXiv 2112.01526, equation 4. With queries held at zero it is zero.
    """

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__(attention, operator, has_bias=has_bias)
        # Takes seconds to import.
        from timm.layers import apply_rot_embed_cat
        from timm.models.vision_transformer_sam import get_decomposed_rel_pos_bias

        self._rotate, self._bias_of = apply_rot_embed_cat, get_decomposed_rel_pos_bias

    def forward(self, x: Tensor) -> Tensor:
        """Attention output for a map or windows, (B, rows, columns, C), same shape.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        batch, rows, columns, _ = x.shape
        x_BNC = x.flatten(1, 2)
        self._check(rows * columns)
        q_BHND, k_BHND, v_BHND = self._heads(self.qkv(x_BNC), 3)
        q_BHND, k_BHND = self.q_norm(q_BHND), self.k_norm(k_BHND)
        if not self.content:
            q_BHND = 0 * q_BHND
        bias = None
        if self.use_rel_pos:
            grid = rows, columns
            of_heads = self._bias_of(
                q_BHND.flatten(0, 1), self.rel_pos_h, self.rel_pos_w, grid, grid
            )
            bias = of_heads.reshape(batch, self.num_heads, *of_heads.shape[1:])
        elif self.rope is not None:
            rope = self.rope.get_embed()
            q_BHND = self._rotate(q_BHND, rope).type_as(v_BHND)
            k_BHND = self._rotate(k_BHND, rope).type_as(v_BHND)
        out_BNC = self._projected(self._attend((q_BHND, k_BHND, v_BHND), x_BNC, bias))
        return out_BNC.reshape(x.shape)
