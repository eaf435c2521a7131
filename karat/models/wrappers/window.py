"""Attention inside the windows of Swin and Swin v2.

Shapes: B batch, W windows of an image, N tokens of a window, M keys (= N), C width, H heads, D head width.
"""

import math
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from karat.attention.part import Part
from karat.models.wrappers.base import (
    HostAttention,
    projected_with_biases,
    refuse_other_windows,
)


class KArAtWindowAttention(HostAttention):
    """For Swin's `WindowAttention`, with its table of position biases.

    Pairs that the shift mask forbids are left out of row sums and weights. timm adds -100 to their
    scores, which has no such effect on a periodic function.
    """

    def init_non_persistent_buffers(self) -> None:
        """Compute the index of the bias table; timm calls this after loading onto another device."""
        self._timm._init_buffers(self)

    def set_window_size(self, window_size: tuple[int, int]) -> None:
        """Called by timm's `set_input_size`; only the window size of the operator is possible.

        Raises:
            ValueError: the operator was made for another window size.
        """
        refuse_other_windows(self, window_size)

    def forward(self, x_BNC: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention output, shape (B W, N, C).

        Args:
            x_BNC: tokens of windows, shape (B W, N, C); the windows of an image are consecutive.
            mask: shape (W, N, N), 0 where a pair may attend and negative where not.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND, v_BHND = self._queries_keys_values(x_BNC)
        keep = None
        if mask is not None:
            keep = (mask == 0).unsqueeze(1).repeat(x_BNC.shape[0] // mask.shape[0], 1, 1, 1)
        qkv = (q_BHND, k_BHND, v_BHND)
        return self._projected(self._attend(qkv, x_BNC, self._bias_HNM(), keep))

    def _queries_keys_values(self, x_BNC: Tensor) -> Any:
        return self._heads(self.qkv(x_BNC), 3)

    def _bias_HNM(self) -> Tensor:
        table: Tensor = self.relative_position_bias_table
        return table[self.relative_position_index].permute(2, 0, 1)


class KArAtCosineWindowAttention(KArAtWindowAttention):
    """For Swin v2's `WindowAttention`: scores are cosines times a learned factor by head.

    Source: arXiv 2111.09883, equation 2 and Section 3.3. The bias is a small network of log-spaced
    coordinates. The factor multiplies the queries here, so that a mechanism sees the same scores.
    """

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__(attention, operator, has_bias=has_bias)
        self.scale = 1.0

    def _make_pair_wise_relative_positions(self, **like: Any) -> tuple[Tensor, Tensor]:
        """Called by timm's `_init_buffers`."""
        found: tuple[Tensor, Tensor] = self._timm._make_pair_wise_relative_positions(self, **like)
        return found

    def _queries_keys_values(self, x_BNC: Tensor) -> Any:
        q_BHND, k_BHND, v_BHND = self._heads(projected_with_biases(self, x_BNC), 3)
        factor_H11 = self.logit_scale.clamp(max=math.log(1.0 / 0.01)).exp()
        return F.normalize(q_BHND, dim=-1) * factor_H11, F.normalize(k_BHND, dim=-1), v_BHND

    def _bias_HNM(self) -> Tensor:
        table: Tensor = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        return 16 * table[self.relative_position_index].permute(2, 0, 1).sigmoid()
