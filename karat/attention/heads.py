"""The operators of one block: one for all heads, or several for heads with different settings."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.attention.config import AttentionConfig
from karat.attention.kernels import QKV
from karat.attention.operator import Operator


class HeadParts(nn.Module):
    """The heads of one block in parts with different settings: an operator each, or softmax.

    Args:
        parts: heads and their operator, None for softmax; every head is in exactly one part.
        num_tokens: N.
    """

    def __init__(
        self, parts: Sequence[tuple[tuple[int, ...], Operator | None]], num_tokens: int
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.heads = [list(heads) for heads, _ in parts]
        self.operators = nn.ModuleList(operator or nn.Identity() for _, operator in parts)
        in_parts = [head for heads in self.heads for head in heads]
        # From the order of parts, in which outputs are concatenated, back to the order of heads.
        self.order = sorted(range(len(in_parts)), key=in_parts.__getitem__)

    def forward(
        self,
        scores_BHNM: Tensor,
        values_BHMD: Tensor,
        keep: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attention output of shape (B, H, N, D); arguments as for `Operator`."""
        outputs = []
        for heads, operator in zip(self.heads, self.operators, strict=True):
            scores, values = scores_BHNM[:, heads], values_BHMD[:, heads]
            kept = _of_heads(keep, heads)
            if isinstance(operator, Operator):
                outputs.append(operator(scores, values, kept, dropout))
            else:
                weights = _softmax(scores, kept).to(values.dtype)
                outputs.append(F.dropout(weights, dropout) @ values)
        return torch.cat(outputs, 1)[:, self.order]

    def kernels(self, q_BHND: Tensor, *, needs_weights: bool) -> set[str]:
        """Names of the operators' kernels; arguments as for `Operator.choose_kernel`."""
        operators = [each for each in self.operators if isinstance(each, Operator)]
        return set().union(*(e.kernels(q_BHND, needs_weights=needs_weights) for e in operators))

    def attend(self, qkv: QKV, scale: float, dropout: float = 0.0) -> Tensor:
        """Attention output of shape (B, H, N, D); arguments as for `Operator.attend`."""
        outputs = []
        for heads, operator in zip(self.heads, self.operators, strict=True):
            own = qkv[:, :, heads] if isinstance(qkv, Tensor) else _of_three(qkv, heads)
            if isinstance(operator, Operator):
                outputs.append(operator.attend(own, scale, dropout))
            else:
                q, k, v = own
                outputs.append(
                    F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
                )
        return torch.cat(outputs, 1)[:, self.order]

    def weights(self, scores_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
        """The attention weights, shape (B, H, N, M)."""
        found = []
        for heads, operator in zip(self.heads, self.operators, strict=True):
            of_part = operator.weights if isinstance(operator, Operator) else _softmax
            found.append(of_part(scores_BHNM[:, heads], _of_heads(keep, heads)))
        return torch.cat(found, 1)[:, self.order]


def make_operator(
    config: AttentionConfig,
    num_heads: int,
    num_tokens: int,
    generator: torch.Generator | None = None,
) -> Operator | HeadParts:
    """The operator for all heads of one block, or parts if the heads have different settings.

    Raises:
        CombinationError: the settings do not fit this number of heads or tokens.
    """
    parts = config.parts(num_heads)
    operators = [
        Operator(own, own.operators(len(heads)), num_tokens, generator) if own else None
        for heads, own in parts
    ]
    if len(operators) == 1 and operators[0] is not None:
        return operators[0]
    in_parts = [heads for heads, _ in parts]
    return HeadParts(list(zip(in_parts, operators, strict=True)), num_tokens)


def _of_heads(keep: Tensor | None, heads: list[int]) -> Tensor | None:
    """The mask of these heads; a mask without a dimension of heads stays as it is."""
    if keep is None or keep.dim() < 3 or keep.shape[-3] == 1:
        return keep
    return keep[..., heads, :, :]


def _of_three(
    qkv: tuple[Tensor, Tensor, Tensor], heads: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    q_BHND, k_BHMD, v_BHMD = qkv
    return q_BHND[:, heads], k_BHMD[:, heads], v_BHMD[:, heads]


def _softmax(scores: Tensor, keep: Tensor | None) -> Tensor:
    if keep is not None:
        scores = scores.masked_fill(~keep, -math.inf)
    return scores.softmax(-1)
