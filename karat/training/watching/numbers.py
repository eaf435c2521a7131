"""What an attention module does in numbers, head by head, from its weights; NaN where a head lacks one.

Shapes: B images (or their windows), H heads, N tokens, M keys (= N), D head width.
"""

import math

import torch
from torch import Tensor


def entropy(weights_BHNM: Tensor, keep: Tensor | None = None) -> Tensor:
    """Entropy of the rows of |weights|, each divided by its sum, as a share of that of equal weights: (H,).

    0 where every query attends to one key alone, 1 where it attends to all alike; the mean over images and rows. Rows
    of zeros and rows with a single key have none.

    Args:
        weights_BHNM: the weights.
        keep: truth values that broadcast to them, the pairs that are not masked; None for all.
    """
    mass = weights_BHNM.abs()
    total = mass.sum(-1)
    found = torch.special.entr(mass / total.clamp(min=_tiny(mass)).unsqueeze(-1)).sum(-1)
    if keep is None:
        keys = torch.full_like(total, weights_BHNM.shape[-1])
    else:
        keys = keep.expand(weights_BHNM.shape).sum(-1).to(total.dtype)
    return _mean(found / keys.log(), (total > 0) & (keys > 1))


def effective_rank(weights_BHNM: Tensor) -> Tensor:
    """Effective rank of each matrix of weights as a share of N, between 1/N and 1, mean over images: (H,).

    exp of the entropy of the singular values, divided by their sum. Source: Roy and Vetterli 2007, "The effective rank:
    a measure of effective dimensionality". A matrix of zeros, or one that is not finite, has none.
    """
    is_finite = weights_BHNM.isfinite().all((-1, -2)).cpu()
    weights_BHNM = weights_BHNM.float().cpu().where(is_finite[..., None, None], 0.0)
    values = torch.linalg.svdvals(weights_BHNM)
    total = values.sum(-1)
    shares = values / total.clamp(min=_tiny(values)).unsqueeze(-1)
    ranks = torch.special.entr(shares).sum(-1).exp() / weights_BHNM.shape[-2]
    return _mean(ranks.unsqueeze(-1), (total > 0).unsqueeze(-1))


def row_sum(weights_BHNM: Tensor) -> Tensor:
    """Mean sum of a row, over images and rows: (H,). 1 for softmax."""
    return weights_BHNM.sum(-1).mean((0, 2))


def row_sum_std(weights_BHNM: Tensor) -> Tensor:
    """Standard deviation of the sums of rows, over images and rows: (H,)."""
    return weights_BHNM.sum(-1).std((0, 2), correction=0)


def negative(weights_BHNM: Tensor) -> Tensor:
    """Share of the negative weights in the sum of |weights|: (H,). None where all are zero."""
    total = weights_BHNM.abs().sum((0, 2, 3))
    share = -weights_BHNM.clamp(max=0).sum((0, 2, 3)) / total.clamp(min=_tiny(total))
    return share.where(total > 0, math.nan)


def output_norm(out_BHND: Tensor) -> Tensor:
    """Root mean square of the attention output before the output projection: (H,)."""
    return out_BHND.square().mean((0, 2, 3)).sqrt()


def _mean(values_BHN: Tensor, is_known: Tensor) -> Tensor:
    """The mean over images and rows of those that are known: (H,); NaN without any."""
    known = values_BHN.where(is_known, 0.0).sum((0, 2))
    return known / is_known.sum((0, 2))


def _tiny(values: Tensor) -> float:
    return torch.finfo(values.dtype).tiny
