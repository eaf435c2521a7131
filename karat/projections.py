"""Maps of a vector onto the probability simplex, for use between Φ̂ and W."""

from collections.abc import Callable

import torch
from torch import Tensor

Projection = Callable[[Tensor], Tensor]


def simplex(values: Tensor) -> Tensor:
    """The nearest point of the probability simplex, `max(y - λ, 0)`, along dimension 1.

    Source: Condat 2016 (Algorithm 1, by sorting); arXiv 2503.10632, Algorithm 1. Exact, and
    differentiable wherever the support does not change: λ is a mean over the support, which is
    held fixed, so autograd gives `(I - 1/ρ) g` on it. Entries that tie at the threshold get
    nothing and no gradient, one of the subgradients.

    Args:
        values: any shape with at least two dimensions; at least one finite entry per vector.

    Returns:
        Same shape; every vector along dimension 1 is non-negative and sums to 1.
    """
    with torch.no_grad():
        descending = values.sort(dim=1, descending=True).values
        count = torch.arange(1, values.shape[1] + 1, device=values.device, dtype=values.dtype)
        count = count.view(-1, *[1] * (values.dim() - 2))
        threshold = (descending.cumsum(1) - 1) / count
        support_size = (descending > threshold).sum(1, keepdim=True)
        support = values > threshold.gather(1, support_size - 1)
    inside = torch.where(support, values, 0)
    level = (inside.sum(1, keepdim=True) - 1) / support.sum(1, keepdim=True)
    return torch.where(support, values - level, 0)


def softmax(values: Tensor) -> Tensor:
    """Softmax along dimension 1."""
    return values.softmax(1)


PROJECTIONS: dict[str, Projection | None] = {"none": None, "simplex": simplex, "softmax": softmax}
