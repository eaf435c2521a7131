"""Attention whose queries and keys are rotated by their positions (RoPE): EVA-02, DINOv3, Perception Encoder.

Shapes: B batch, N tokens, P patches, C width, H heads, D head width.
"""

from typing import Any

import torch
from torch import Tensor

from karat.attention.part import Part
from karat.models.wrappers.base import HostAttention, bias_and_keep, projected_with_biases


class KArAtRotaryAttention(HostAttention):
    """For timm's `EvaAttention` and `AttentionRope`.

    Queries and keys are normalised, then those of patches are rotated, as in timm; a mechanism sees the scores of the
    rotated ones. With fewer heads of keys and values than of queries, each serves several (grouped queries).
    """

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__(attention, operator, has_bias=has_bias)
        from timm.layers import apply_rot_embed_cat  # takes seconds to import

        self._rotate = apply_rot_embed_cat
        self._groups = getattr(attention, "num_kv_groups", 1)

    def forward(
        self,
        x_BNC: Tensor,
        rope: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attention output, shape (B, N, C).

        Args:
            x_BNC: tokens.
            rope: sines and cosines of all patches, (P, 2 D), as the model gives them; None without a rotation.
            attn_mask, is_causal: as of `KArAtAttention`.

        Raises:
            ValueError: the operator was made for another number of tokens, or cannot be masked.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND, v_BHND = self._queries_keys_values(x_BNC)
        q_BHND, k_BHND = self.q_norm(q_BHND), self.k_norm(k_BHND)
        if rope is not None:
            q_BHND = self._rotated(q_BHND, rope).type_as(v_BHND)
            k_BHND = self._rotated(k_BHND, rope).type_as(v_BHND)
        if self._groups > 1:
            k_BHND = k_BHND.repeat_interleave(self._groups, dim=1)
            v_BHND = v_BHND.repeat_interleave(self._groups, dim=1)
        bias, keep = bias_and_keep(attn_mask, is_causal, x_BNC)
        out_BHND = self._attend((q_BHND, k_BHND, v_BHND), x_BNC, bias, keep)
        out_BNC = self.norm(out_BHND.transpose(1, 2).flatten(2))
        if self.gate is not None:
            out_BNC = out_BNC * self.gate(x_BNC).sigmoid()
        projected: Tensor = self.proj_drop(self.proj(out_BNC))
        return projected

    def _queries_keys_values(self, x_BNC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.qkv is None:
            q_BHND, k_BHND, v_BHND = (
                self._by_head(project(x_BNC)) for project in (self.q_proj, self.k_proj, self.v_proj)
            )
            return q_BHND, k_BHND, v_BHND
        qkv_BNX = projected_with_biases(self, x_BNC)
        q_BHND, k_BHND, v_BHND = self._heads(qkv_BNX, 3)
        return q_BHND, k_BHND, v_BHND

    def _by_head(self, x_BNX: Tensor) -> Tensor:
        batch, tokens, width = x_BNX.shape
        heads = width // self.head_dim
        return x_BNX.reshape(batch, tokens, heads, self.head_dim).transpose(1, 2)

    def _rotated(self, x_BHND: Tensor, rope: Tensor) -> Tensor:
        prefix = self.num_prefix_tokens
        half = getattr(self, "rotate_half", False)
        patches_BHPD = self._rotate(x_BHND[:, :, prefix:], rope, half=half)
        return torch.cat([x_BHND[:, :, :prefix], patches_BHPD], 2)
