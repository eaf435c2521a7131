"""Numbers about attention weights, which may be negative and need not sum to 1.

Where a distribution is needed it is |w| / Σ |w| over the keys of a row; a row of zeros has none and gives NaN.
Shapes: any leading dimensions, N queries, M keys, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def shares(weights_NM: Tensor) -> Tensor:
    """|w| / Σ |w| of each row, in float64; NaN for rows of zeros."""
    mass = weights_NM.double().abs()
    return mass / mass.sum(-1, keepdim=True)


def entropy(weights_NM: Tensor) -> Tensor:
    """Entropy of each row divided by log M, (..., N): 0 for one key, 1 for all alike."""
    part = shares(weights_NM)
    found: Tensor = -torch.xlogy(part, part).sum(-1) / math.log(weights_NM.shape[-1])
    return found


def distances(grid: tuple[int, int]) -> Tensor:
    """Euclidean distance between the centres of patches, in patches, (P, P)."""
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in grid), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], -1).double()
    return torch.cdist(places, places)


def distance(weights_NM: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """Mean distance between a patch and the patches that it weighs, by |w|, (..., P), in patches.

    Other tokens, the first `prefix`, are left out as queries and as keys.
    """
    return (shares(weights_NM[..., prefix:, prefix:]) * distances(grid)).sum(-1)


def negative_share(weights_NM: Tensor) -> Tensor:
    """Share of Σ |w| of a matrix that is negative, (...)."""
    wide = weights_NM.double()
    return wide.clamp(max=0).abs().sum((-2, -1)) / wide.abs().sum((-2, -1))


def columns(weights_NM: Tensor) -> Tensor:
    """Share of Σ |w| of a matrix in each column, (..., M): how much each key gets."""
    mass = weights_NM.double().abs().sum(-2)
    return mass / mass.sum(-1, keepdim=True)


def sink(weights_NM: Tensor, values_MD: Tensor) -> tuple[Tensor, Tensor]:
    """The largest column's share, and the norm of its value by the mean norm of the values, (...) each.

    A sink whose value is small is one of two kinds that arXiv 2606.08105 tells apart: such a head adds little.
    """
    share, key = columns(weights_NM).max(-1)
    norms = values_MD.double().norm(dim=-1)
    return share, norms.gather(-1, key[..., None])[..., 0] / norms.mean(-1)


def rollout(weights_of_blocks: Sequence[Tensor]) -> Tensor:
    """Attention rollout, (..., N, N): what each token takes from each token of the first block.

    Source: Abnar and Zuidema 2020, arXiv 2005.00928: the product over blocks of (Ā + 1) / 2, with Ā the mean over
    heads and 1 for the residual connection. Departure: weights may be negative and rows need not sum to 1, so that
    Ā is the mean of |w| / Σ |w|, and a row of zeros is left to the residual connection.

    Args:
        weights_of_blocks: (..., H, N, N) of each block in order.
    """
    total = torch.empty(0)
    for number, weights in enumerate(weights_of_blocks):
        mean = shares(weights).nan_to_num().mean(-3)
        mixed = mean + torch.eye(mean.shape[-1], dtype=mean.dtype)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        total = mixed if number == 0 else mixed @ total
    return total
