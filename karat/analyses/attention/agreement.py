"""How alike the attention of two trained models is, head by head.

Heads have no order: of each block the heads of one model are matched with those of the other so that the mean
correlation is highest (Hungarian method). That raises the correlation of unrelated heads too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def matched(first_LHX: Array, second_LHX: Array) -> Array:
    """Mean correlation of the matched heads of each block, (L,); NaN where a map does not vary.

    Args:
        first_LHX, second_LHX: what is correlated, of each block and head.
    """
    from scipy.optimize import linear_sum_assignment

    found = []
    for first, second in zip(first_LHX, second_LHX, strict=True):
        table = _correlations(first, second)
        if np.isnan(table).any():
            found.append(np.nan)
            continue
        found.append(table[linear_sum_assignment(table, maximize=True)].mean())
    return np.array(found)


def agreement(
    mean_maps: tuple[Array, Array], maps_per_image: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Agreement of two models by block: of their mean maps, and of how maps differ from them, (L,) each.

    Args:
        mean_maps: of both models (L, H, N, M), means over images.
        maps_per_image: of both models (I, L, H, M), the class token's row for the same images; the mean over images
            is taken off, so that maps that are the same for all images do not count as agreement.
    """
    means = [maps.reshape(*maps.shape[:2], -1).astype(float) for maps in mean_maps]
    own = []
    for maps in maps_per_image:
        wide = maps.astype(float)
        differs = wide - wide.mean(0)
        # Up to rounding, weights that are the same for every image do not differ.
        differs = np.where(np.abs(differs) > 1e-6 * np.abs(wide).max(), differs, 0.0)
        own.append(differs.transpose(1, 2, 0, 3).reshape(*maps.shape[1:3], -1))
    return matched(means[0], means[1]), matched(own[0], own[1])


def _correlations(first_HX: Array, second_HX: Array) -> Array:
    """Pearson's correlation of each head of the first with each of the second."""
    both = []
    for maps in (first_HX, second_HX):
        centred = maps - maps.mean(-1, keepdims=True)
        norm = np.linalg.norm(centred, axis=-1, keepdims=True)
        varies = norm > 1e-9 * np.linalg.norm(maps, axis=-1, keepdims=True)
        both.append(np.where(varies, centred / np.where(varies, norm, 1.0), np.nan))
    found: Array = both[0] @ both[1].T
    return found
