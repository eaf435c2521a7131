"""Projections of a vector onto the probability simplex, applied between Φ̂ and W."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import Tensor

Projection: TypeAlias = "Callable[[Tensor], Tensor]"


def simplex(values: Tensor) -> Tensor:
    """The nearest point of the probability simplex, `max(y - λ, 0)`, along dimension 1.

    Source: Condat 2016 (Algorithm 1, by sorting); arXiv 2503.10632, Algorithm 1. Exact, and
    differentiable wherever the support does not change: λ is a mean over the support, which is
    constant for autograd, so that the gradient is `(I - 1/ρ) g` on it. Entries exactly at the
    threshold become 0 and get no gradient, which is one of the subgradients.

    Args:
        values: any shape with at least two dimensions; a vector with NaN or infinity gives NaN.

    Returns:
        Same shape; every vector along dimension 1 is non-negative and sums to 1.
    """
    # The projection is invariant to a shift, and entries more than 1 below the maximum are never
    # in the support. With shifted and clamped values, the cumulative sums stay small and exact.
    shifted = values - values.detach().amax(1, keepdim=True)
    with torch.no_grad():
        descending = shifted.clamp(min=-1).sort(dim=1, descending=True).values
        count = torch.arange(1, values.shape[1] + 1, device=values.device, dtype=values.dtype)
        count = count.view(-1, *[1] * (values.dim() - 2))
        threshold = (descending.cumsum(1) - 1) / count
        support_size = (descending > threshold).sum(1, keepdim=True).clamp(min=1)
        support = shifted > threshold.gather(1, support_size - 1)
    inside = torch.where(support, shifted, 0)
    level = (inside.sum(1, keepdim=True) - 1) / support.sum(1, keepdim=True).clamp(min=1)
    return torch.where(support, shifted - level, 0 * shifted)  # 0 * NaN keeps NaN


def softmax(values: Tensor) -> Tensor:
    """Softmax along dimension 1."""
    return values.softmax(1)


PROJECTIONS: dict[str, Projection | None] = {"none": None, "simplex": simplex, "softmax": softmax}
