"""The loss along lines and over planes in the space of weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
FINE = 401  # points along each side of a plane when its area is measured
FAR = 1e6  # stands for a loss that is not finite


def along(
    loss: Callable[[Tensor], float], centre: Tensor, direction: Tensor, steps: Array
) -> Array:
    """`loss(centre + a direction)` for every step a: (A,)."""
    return np.array([loss(centre + float(step) * direction) for step in steps])


def over_plane(
    loss: Callable[[Tensor], float],
    centre: Tensor,
    directions: tuple[Tensor, Tensor],
    first: Array,
    second: Array,
) -> Array:
    """`loss(centre + a d₁ + b d₂)`: (B, A), a row for each step b of the second direction."""
    across, up = directions
    return np.stack([along(loss, centre + float(step) * up, across, first) for step in second])


def area_below(values: Array, across: Array, up: Array, level: float) -> float:
    """Share of a plane on which the loss is below a level, linear between the points of its grid: 0 to 1.

    Args:
        values: (B, A); those that are not finite count as above.
        across: (A,), places of the columns, increasing.
        up: (B,), places of the rows.
        level: in the unit of the values.
    """
    rows = _finer(_finite(values), across)
    return float(np.mean(_finer(rows.T, up) < level))


def share_below(values: Array, places: Array, level: float) -> float:
    """The same share of a line: of values (A,) at places (A,)."""
    return float(np.mean(_finer(_finite(values)[None], places) < level))


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, FAR)


def _finer(rows: Array, places: Array) -> Array:
    """Each row at 401 points, in the middle of equal parts of the line."""
    parts = (np.arange(FINE) + 0.5) / FINE
    fine = places[0] + parts * (places[-1] - places[0])
    return np.stack([np.interp(fine, places, row) for row in rows])
