"""Histograms whose bins fit into each other, so that those of several models can be drawn with the same bins.

The width of the bins is a power of two and an edge is at 0, so two histograms differ by whole numbers of bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
BINS = 512  # half of them below 0
SHOWN = 64  # most bins of a picture


def width_for(greatest: float) -> float:
    """The width with which values up to this size fit: the least power of two."""
    if greatest <= 0:
        return 2.0**-20
    return 2.0 ** math.ceil(math.log2(greatest / (BINS // 2)))


def counted(values: Array, width: float) -> Counts:
    """Number of values in each bin: (BINS,)."""
    places = np.floor(values / width).astype(np.int64) + BINS // 2
    return np.bincount(places.clip(0, BINS - 1), minlength=BINS)


def in_common(counts: Sequence[Counts], widths: Sequence[float]) -> tuple[Array, list[Counts]]:
    """The edges (E + 1,) of bins that all histograms have in common, and their counts in them: (..., E) each.

    Args:
        counts: (..., BINS) each.
        widths: of the bins of each.
    """
    width = max(widths)
    found = [coarser(each, round(width / own)) for each, own in zip(counts, widths, strict=True)]
    while _extent(found) > SHOWN // 2:
        found, width = [coarser(each, 2) for each in found], 2 * width
    half = max(1, _extent(found))
    middle = BINS // 2
    edges: Array = np.arange(-half, half + 1, dtype=np.float64) * width
    return edges, [each[..., middle - half : middle + half] for each in found]


def coarser(counts: Counts, factor: int) -> Counts:
    """The same with bins that are wider by this factor, a power of two: (..., BINS)."""
    factor = min(factor, BINS // 2)  # then two bins are left, below 0 and above
    parts = counts.reshape(*counts.shape[:-1], BINS // factor, factor).sum(-1)
    empty = (BINS - BINS // factor) // 2
    pad = [(0, 0)] * (counts.ndim - 1) + [(empty, empty)]
    return np.pad(parts, pad)


def _extent(counts: Sequence[Counts]) -> int:
    """Number of bins on one side of 0 within which all values are."""
    filled = sum(each.reshape(-1, BINS).sum(0) for each in counts)
    places = np.flatnonzero(filled)
    if not len(places):
        return 0
    return int(max(places[-1] + 1 - BINS // 2, BINS // 2 - places[0]))
