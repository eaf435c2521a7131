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
        values: any shape with at least two dimensions; a vector with NaN or infinity gives NaN.

    Returns:
        Same shape; every vector along dimension 1 is non-negative and sums to 1.
    """
    # The projection does not change with a shift, and nothing that lies 1 below the highest entry
    # is in the support: so the sums stay small and exact.
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
    return torch.where(support, shifted - level, 0 * shifted)  # so that NaN stays NaN


def softmax(values: Tensor) -> Tensor:
    """Softmax along dimension 1."""
    return values.softmax(1)


PROJECTIONS: dict[str, Projection | None] = {"none": None, "simplex": simplex, "softmax": softmax}
