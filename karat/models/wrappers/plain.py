"""timm's plain attention: ViT, DeiT, ResNet hybrids, ViTamin, NaFlex, and ConViT's plain layers.

Shapes: B batch, N tokens, C width, H heads, D head width.
"""

from typing import Any

from torch import Tensor, nn

from karat.attention.kernels import QKV
from karat.attention.part import Part
from karat.models.wrappers.base import HostAttention, bias_and_keep


class KArAtAttention(HostAttention):
    """For timm's `Attention` and ConViT's plain `MHSA`."""

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__(attention, operator, has_bias=has_bias)
        for name in ("q_norm", "k_norm", "norm"):  # MHSA has none
            if not hasattr(self, name):
                self.add_module(name, nn.Identity())
        self.gate = getattr(attention, "gate", None)
        norms = (self.q_norm, self.k_norm)
        self._normalises = not all(isinstance(norm, nn.Identity) for norm in norms)

    def forward(
        self, x_BNC: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attention output, shape (B, N, C).

        Args:
            x_BNC: tokens.
            attn_mask: as in timm: truth values, or numbers that are added to the scores, where -inf
                and the dtype's lowest number mask a pair.
            is_causal: whether a token sees only itself and those before it; overrides `attn_mask`.

        Raises:
            ValueError: the operator was made for another number of tokens, or cannot be masked.
        """
        self._check(x_BNC.shape[1])
        qkv: QKV = self._heads(self.qkv(x_BNC), 3)
        q_BHND, k_BHND, v_BHND = qkv
        if self._normalises:
            q_BHND, k_BHND = self.q_norm(q_BHND), self.k_norm(k_BHND)
            qkv = q_BHND, k_BHND, v_BHND
        bias, keep = bias_and_keep(attn_mask, is_causal, x_BNC)
        out_BHND = self._attend(qkv, x_BNC, bias, keep)
        out_BNC = self.norm(out_BHND.transpose(1, 2).flatten(2))
        if self.gate is not None:
            out_BNC = out_BNC * self.gate(x_BNC).sigmoid()
        projected: Tensor = self.proj_drop(self.proj(out_BNC))
        return projected
