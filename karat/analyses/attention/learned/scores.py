"""The scores that occur at learned functions, as points of equal probability, and what each function weighs.

Shapes: P operators, R outputs, M inputs (keys), K points, H heads, N tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karat.analyses.attention.learned.table import UnitTable
from karat.attention.operator import Operator
from karat.models.observing import Seen

Array = NDArray[np.float64]
POINTS = 65
LEAST, MOST = 0.001, 0.999  # quantiles of scores between which functions are looked at
MOST_ROWS = 8192  # rows of scores of an attention module from which quantiles are taken


class Gathered:
    """Collects, batch by batch, scores of the first images and the products of values.

    Args:
        tables: the units of the model.
    """

    def __init__(self, tables: Sequence[UnitTable]) -> None:
        self._tables = tables
        self._scores: list[list[Tensor]] = [[] for _ in tables]
        self._grams: list[list[Tensor]] = [[] for _ in tables]
        self._rows = [0] * len(tables)

    def add(self, seen: Sequence[Seen]) -> None:
        """Take what one batch gave."""
        for number, table in enumerate(self._tables):
            for layer, heads in table.uses:
                each = seen[layer]
                assert each.scores is not None
                values = each.values[:, heads].double()
                self._grams[number].append((values @ values.mT).sum(0))
                left = MOST_ROWS * len(table.uses) - self._rows[number]
                if left <= 0:
                    continue
                images = -(-left // each.scores.shape[2])
                scores = each.scores[:images, heads]
                if each.keep is not None:
                    keep = each.keep.expand(each.scores.shape)[:images][:, heads]
                    scores = scores.masked_fill(~keep, torch.nan)
                self._scores[number].append(table.inputs(scores).float())
                self._rows[number] += len(scores) * scores.shape[2]

    def scores(self, number: int) -> Tensor:
        """Those of a table, (P, M, L); NaN where the model masks a pair."""
        return torch.cat(self._scores[number], -1)

    def points(self, number: int) -> Tensor:
        """Scores of equal probability for each input of a table, (P, M, K)."""
        shares = LEAST + (MOST - LEAST) * (np.arange(POINTS) + 0.5) / POINTS
        return quantiles(self.scores(number), shares)

    def sizes(self, number: int) -> Tensor:
        """Mean squared norm of the vector that each unit of a table multiplies, (P, R, M).

        With W the row r of Wᵀ V; without it the value of the key r (rank `full`) or of the key m (`pointwise`).
        """
        table = self._tables[number]
        gram_HMM = torch.stack(self._grams[number]).sum(0)
        gram_PMM = gram_HMM.reshape(table.operators, -1, *gram_HMM.shape[1:]).sum(1)
        if not isinstance(table.part, Operator):
            each: Tensor = gram_PMM.diagonal(dim1=1, dim2=2).mean(-1)[:, None, None]
            return each
        if table.part.weight is None:
            found: Tensor = gram_PMM.diagonal(dim1=1, dim2=2)
        else:
            weight_PMR = table.part.weight.double()
            found = torch.einsum("pmr,pmn,pnr->pr", weight_PMR, gram_PMM, weight_PMR)
        return found[..., None].expand(-1, -1, gram_PMM.shape[1])


def quantiles(values: Tensor, shares: Array) -> Tensor:
    """Quantiles over the last dimension without the NaN in it, in float64; 0 where there is nothing else."""
    ordered = values.sort(-1).values.double()  # NaN last
    counts = values.isfinite().sum(-1, keepdim=True)
    places = torch.from_numpy(shares) * (counts - 1).clamp(min=0)
    below = places.floor().long()
    above = torch.minimum(below + 1, (counts - 1).clamp(min=0))
    low, high = ordered.gather(-1, below), ordered.gather(-1, above)
    return torch.where(counts > 0, low + (high - low) * (places - below), 0.0)


def weights_of_units(values_PRMK: Array, sizes_PRM: Array) -> Array:
    """What share of its operator's variation each unit makes, (P, R, M), as if units varied independently.

    The variance of the unit over the scores that occur, times the mean squared norm of the vector that it multiplies,
    divided by the sum of these products over the units of the operator.
    """
    products = values_PRMK.var(-1) * sizes_PRM
    total = products.sum((1, 2), keepdims=True)
    found: Array = np.divide(products, total, out=np.zeros_like(products), where=total > 0)
    return found
