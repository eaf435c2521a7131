"""ConViT's gated positional self-attention.

Shapes: B batch, N tokens, M keys (= N), C width, H heads, D head width.
"""

from typing import Any

from torch import Tensor

from karat.attention.part import Part
from karat.models.wrappers.base import HostAttention


class KArAtGatedAttention(HostAttention):
    """For ConViT's `GPSA`.

    `(1 - g) KArAt(scores) V + g softmax(position scores) V`, with a gate g per head. Source:
    arXiv 2103.10697, equation 7. Departure: the weights are not divided by their sum. The sum is 1
    for two softmaxes, but may be 0 for an operator.
    """

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__(attention, operator, has_bias=has_bias)
        self.init_non_persistent_buffers()

    def _check(self, keys: int) -> None:
        if keys != self.operator.num_tokens:
            raise ValueError(
                f"this layer has relative positions of {self.operator.num_tokens} tokens, got "
                f"{keys}; karat.transfer transfers a model to another resolution"
            )

    def init_non_persistent_buffers(self) -> None:
        """Compute the relative positions; timm calls this after loading onto another device."""
        places = self._timm.get_rel_indices(self, self.operator.num_tokens)
        self.register_buffer("rel_indices", places, persistent=False)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Attention output for tokens of shape (B, N, C), same shape.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND = self._heads(self.qk(x_BNC), 2)
        (v_BHND,) = self._heads(self.v(x_BNC), 1)
        content_BHND = self._attend((q_BHND, k_BHND, v_BHND), x_BNC)
        position_1HNM = self.pos_proj(self.rel_indices).permute(0, 3, 1, 2).softmax(-1)
        position_1HNM = self.attn_drop(position_1HNM.to(v_BHND.dtype))
        gate = self.gating_param.sigmoid().view(1, -1, 1, 1)
        return self._projected((1 - gate) * content_BHND + gate * (position_1HNM @ v_BHND))
