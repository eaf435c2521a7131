"""Attention of hierarchical models: MaxViT and CoAtNet, PVT v2, Hiera.

Shapes: B batch (times windows), N queries, M keys, C width, H heads, D head width, T tokens of a window before queries
are pooled, W windows of an image, S queries that are pooled into one.
"""

from typing import Any

from torch import Tensor

from karat.attention.part import Part
from karat.models.wrappers.base import HostAttention


class _Partition(HostAttention):
    """Base class of the two modules of MaxViT: their parts of a map, and their bias."""

    def _split(self, qkv_BNX: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, N, D); some models have all three of a head side by side."""
        if self.head_first:
            split = qkv_BNX.reshape(*qkv_BNX.shape[:2], self.num_heads, 3, -1)
            by_head = split.permute(3, 0, 2, 1, 4)
        else:
            by_head = self._heads(qkv_BNX, 3)
        q_BHND, k_BHND, v_BHND = by_head
        return q_BHND, k_BHND, v_BHND

    def _of_tokens(self, x_BNC: Tensor, qkv_BNX: Tensor, shared: Tensor | None) -> Tensor:
        self._check(x_BNC.shape[1])
        bias = shared if self.rel_pos is None else self.rel_pos.get_bias()
        return self._attend(self._split(qkv_BNX), x_BNC, bias)


class KArAtMapAttention(_Partition):
    """For the `Attention2d` of CoAtNet and MaxViT, on maps with channels first."""

    def forward(self, x_BCHW: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        """Attention output for a map, a window or a grid, (B, C, rows, columns), same shape.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        batch, _, rows, columns = x_BCHW.shape
        tokens_BNC, qkv_BNX = (each.flatten(2).mT for each in (x_BCHW, self.qkv(x_BCHW)))
        out_BHND = self._of_tokens(tokens_BNC, qkv_BNX, shared_rel_pos)
        out = out_BHND.transpose(-1, -2).reshape(batch, -1, rows, columns)
        projected: Tensor = self.proj_drop(self.proj(out))
        return projected


class KArAtPartitionAttention(_Partition):
    """For the `AttentionCl` of MaxViT, on windows and grids with channels last."""

    def forward(self, x: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        """Attention output for a window or a grid, (B, rows, columns, C), same shape.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        tokens_BNC = x.flatten(1, -2)
        out_BHND = self._of_tokens(tokens_BNC, self.qkv(tokens_BNC), shared_rel_pos)
        return self._projected(out_BHND).reshape(*x.shape[:-1], -1)


class KArAtReducedAttention(HostAttention):
    """For the `Attention` of PVT v2, whose keys and values are those of a smaller map."""

    def forward(self, x_BNC: Tensor, feat_size: tuple[int, int]) -> Tensor:
        """Attention output, shape (B, N, C).

        Args:
            x_BNC: tokens.
            feat_size: rows and columns of the map.

        Raises:
            ValueError: the operator was made for another number of keys.
        """
        (q_BHND,) = self._heads(self.q(x_BNC), 1)
        k_BHMD, v_BHMD = self._heads(self.kv(self._reduced(x_BNC, feat_size)), 2)
        self._check(k_BHMD.shape[2])
        return self._projected(self._attend((q_BHND, k_BHMD, v_BHMD), x_BNC))

    def _reduced(self, x_BNC: Tensor, feat_size: tuple[int, int]) -> Tensor:
        if self.sr is None:
            return x_BNC
        x_BCHW = x_BNC.mT.reshape(x_BNC.shape[0], -1, *feat_size)
        if self.pool is not None:
            x_BCHW = self.pool(x_BCHW)
        reduced: Tensor = self.norm(self.sr(x_BCHW).flatten(2).mT)
        return reduced if self.act is None else self.act(reduced)


class KArAtMaskUnitAttention(HostAttention):
    """For the `MaskUnitAttention` of Hiera: in windows or global, where some blocks pool their queries.

    Tokens are in the order of Hiera's unrolling, which is the same for every image; a window is every W-th of them.
    """

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__(attention, operator, has_bias=has_bias)
        self.num_heads = attention.heads

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Attention output, shape (B, N, C); N is the number of tokens, or with pooled queries a fraction.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        batch, tokens, width = x_BNC.shape
        windows = 1
        if self.use_mask_unit_attn:
            windows = tokens // (self.q_stride * self.window_size)
        x_BTC = x_BNC.reshape(batch, -1, windows, width).transpose(1, 2).flatten(0, 1)
        self._check(x_BTC.shape[1])
        q_BHND, k_BHTD, v_BHTD = self._heads(self.qkv(x_BTC), 3)
        if self.q_stride > 1:
            pooled = (*q_BHND.shape[:2], self.q_stride, -1, q_BHND.shape[-1])
            q_BHND = q_BHND.reshape(pooled).amax(2)
        out_BHND = self._attend((q_BHND, k_BHTD, v_BHTD), x_BTC)
        out_BWNC = out_BHND.transpose(1, 2).reshape(batch, windows, q_BHND.shape[2], -1)
        projected: Tensor = self.proj(out_BWNC.transpose(1, 2).flatten(1, 2))
        return projected
