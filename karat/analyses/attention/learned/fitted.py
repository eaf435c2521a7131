"""The learned functions of a model: fitted one by one, by one function for all, and some of them as curves.

Shapes: P operators, R outputs, M inputs (keys), K points, U units of a model, L attention modules, H heads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karat.analyses.attention.learned.scores import (
    LEAST,
    MOST,
    Gathered,
    quantiles,
    weights_of_units,
)
from karat.analyses.attention.learned.simple import SIMPLE, fit, linear_fit, r2_of_one
from karat.analyses.attention.learned.table import UnitTable
from karat.attention.mechanisms.closed_form import FUNCTIONS

Array = NDArray[np.float64]
MOST_FITTED = 20_000  # units of a table to which all simple functions are fitted
CURVE, BINS = 101, 40  # points of a curve, and bins of its histogram
SHOWN_HEADS, SHOWN_UNITS = 3, 2
COMMON = tuple(FUNCTIONS)  # families of one function for all units
MOST_TRIES = 100  # of a search for one function for all


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What the learned functions of a model are.

    Args:
        place: (U, 4), block, head, output and key of each fitted unit, from 0; where heads or blocks share it the
            first of them; key -1 where it serves all keys.
        share: (U,), what share of its operator's variation it makes (`weights_of_units`); with units left
            out (more than 20,000 in an operator) those left are every n-th output.
        r2: (U, 6), and
        best: (U,), as in `Fits`.
        common: (5, 3), of each function of `COMMON` the slope and the centre with which it explains most of all
            units, each with a factor and an offset of its own, and the share that it explains: the mean of R²
            over the units, weighted by `share`.
        shown: (S, 4), place of the units that are shown.
        curves: (S, 101, 2), scores evenly from their 0.1 to their 99.9 % quantile, and the unit there.
        densities: (S, 40), of the scores, in as many bins over the same range.
        lines: (S, 2), slope and offset of the linear fit.
    """

    place: NDArray[np.int64]
    share: Array
    r2: Array
    best: NDArray[np.int64]
    common: Array
    shown: NDArray[np.int64]
    curves: Array
    densities: Array
    lines: Array


class Lines(NamedTuple):
    """The linear fit of every unit of each table, (P, R, M)."""

    slopes: list[Tensor]
    offsets: list[Tensor]


class _Table(NamedTuple):
    """One table of units at its points: (P, M, K), (P, R, M, K), (P, R, M)."""

    points: Array
    values: Array
    shares: Array


@torch.no_grad()
def learned(tables: Sequence[UnitTable], gathered: Gathered) -> tuple[Learned, Lines]:
    """Fit the units of a model.

    Args:
        tables: of the model.
        gathered: its scores.
    """
    lines = Lines([], [])
    blocks = shown_blocks([table.uses[0][0] for table in tables])
    places, shares, r2s, bests, shown, groups = [], [], [], [], [], []
    for number, table in enumerate(tables):
        points = gathered.points(number)
        values = table.values(points).numpy()
        own = _Table(
            points.numpy(), values, weights_of_units(values, gathered.sizes(number).numpy())
        )
        slope, offset = _lines_of(own)
        lines.slopes.append(torch.from_numpy(slope))
        lines.offsets.append(torch.from_numpy(offset))
        if table.uses[0][0] in blocks:
            shown += list(_shown(table, own, gathered.scores(number), slope, offset))
        outputs = _outputs(own.shares.shape)
        x, y, share = _grouped(own, outputs)
        fits = fit(x, y)
        places.append(_places(table, own.shares.shape, outputs))
        shares.append(share.ravel())
        r2s.append(fits.r2.reshape(-1, len(SIMPLE)))
        bests.append(fits.best.ravel())
        groups.append((x, y, share))
    place, curves, densities, shown_lines = (np.stack(each) for each in zip(*shown, strict=True))
    return (
        Learned(
            place=np.concatenate(places),
            share=np.concatenate(shares),
            r2=np.concatenate(r2s),
            best=np.concatenate(bests),
            common=common_forms(groups),
            shown=place,
            curves=curves,
            densities=densities,
            lines=shown_lines,
        ),
        lines,
    )


def common_forms(groups: Sequence[tuple[Array, Array, Array]]) -> Array:
    """Slope, centre and explained share of each function of `COMMON` as one function for all units, (5, 3).

    Args:
        groups: points (G, K), values (G, R, K) and weights (G, R) of units.
    """
    total = sum(weights.sum() for _, _, weights in groups)
    normed = [(x, _normed(y), weights) for x, y, weights in groups]
    spread = float(np.median(np.concatenate([x.std(-1) for x, _, _ in groups]))) or 1.0
    middle = float(np.median(np.concatenate([x.mean(-1) for x, _, _ in groups])))
    width = float(np.median(np.concatenate([np.ptp(x, -1) for x, _, _ in groups]))) or 1.0

    def explained(name: str, slope: float, centre: float) -> float:
        """Of one function, with these settings."""
        found = 0.0
        for x, y, weights in normed:
            h = FUNCTIONS[name](torch.from_numpy(slope * (x - centre))).numpy()
            found += float((r2_of_one(h[:, None], y) * weights).sum())
        return found / total if total else 0.0

    rows = []
    for name, grid in _grids(spread, middle, width).items():
        start = max(grid, key=functools.partial(_unpacked, explained, name))
        slope, centre = _searched(functools.partial(explained, name), name, start, spread, middle)
        rows.append((slope, centre, explained(name, slope, centre)))
    return np.array(rows)


def _unpacked(
    explained: Callable[[str, float, float], float], name: str, place: tuple[float, float]
) -> float:
    return explained(name, *place)


def _searched(
    explained: Callable[[float, float], float],
    name: str,
    start: tuple[float, float],
    spread: float,
    middle: float,
) -> tuple[float, float]:
    """Slope and centre with which a function explains most, near a start (Nelder and Mead).

    The slope within a factor of 4, the centre within 4 standard deviations of the scores: far from them all functions
    are lines.
    """
    from scipy.optimize import minimize

    sign, log_slope = math.copysign(1.0, start[0]), math.log(abs(start[0]))
    of_slope = (log_slope, (log_slope - math.log(4), log_slope + math.log(4)))
    of_centre = (start[1], (middle - 4 * spread, middle + 4 * spread))
    # Of a parabola the slope is a factor, and of an exponential the centre.
    free = {"linear": [], "quadratic": [of_centre], "exponential": [of_slope]}
    first = free.get(name, [of_slope, of_centre])

    def place(vector: Array) -> tuple[float, float]:
        if name == "quadratic":
            return 1.0, float(vector[0])
        return sign * math.exp(vector[0]), float(vector[1]) if len(vector) > 1 else 0.0

    if not first:
        return start
    options = {"maxfev": MOST_TRIES, "xatol": 1e-4, "fatol": 1e-7}
    found = minimize(
        lambda vector: -explained(*place(vector)),
        [min(max(value, low), high) for value, (low, high) in first],
        method="Nelder-Mead",
        bounds=[bounds for _, bounds in first],
        options=options,
    )
    return place(found.x)


def _grids(spread: float, middle: float, width: float) -> dict[str, list[tuple[float, float]]]:
    """Slopes and centres to begin with, by function."""
    centres = [middle + spread * place for place in np.linspace(-2, 2, 9)]
    waves = [math.pi * waves / width for waves in (0.5, *np.arange(2, 25) / 2)]
    rates = (0.1, 0.25, 0.5, 1.0, 2.0)
    return {
        "linear": [(1.0, 0.0)],
        "quadratic": [(1.0, centre) for centre in centres],
        "exponential": [(sign * rate / spread, 0.0) for rate in rates for sign in (1, -1)],
        "sigmoid": [(rate / spread, at) for rate in (0.75, 1.5, 3.0, 6.0) for at in centres],
        # Phases over half a wave, since factors have either sign.
        "cosine": [(k, middle + math.pi / k * part / 8) for k in waves for part in range(8)],
    }


def _normed(y_GRK: Array) -> Array:
    centred = y_GRK - y_GRK.mean(-1, keepdims=True)
    norm = np.sqrt((centred**2).sum(-1, keepdims=True))
    found: Array = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    return found


def _lines_of(own: _Table) -> tuple[Array, Array]:
    """Slopes and offsets of all units, (P, R, M)."""
    found = [linear_fit(x, y.swapaxes(0, 1)) for x, y in zip(own.points, own.values, strict=True)]
    slopes, offsets = (np.stack([each.T for each in column]) for column in zip(*found, strict=True))
    return slopes, offsets


def _outputs(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Numbers of the outputs whose units are fitted."""
    operators, outputs, inputs = shape
    step = math.ceil(operators * outputs * inputs / MOST_FITTED)
    return np.arange(0, outputs, step)


def _grouped(own: _Table, outputs: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Points (G, K), values (G, R, K) and shares (G, R) of the units of these outputs; G = P M."""
    values_PMRK = own.values[:, outputs].swapaxes(1, 2)
    shares_PMR = own.shares[:, outputs].swapaxes(1, 2)
    return (
        own.points.reshape(-1, own.points.shape[-1]),
        values_PMRK.reshape(-1, *values_PMRK.shape[2:]),
        shares_PMR.reshape(-1, shares_PMR.shape[2]),
    )


def _places(
    table: UnitTable, shape: tuple[int, ...], outputs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Block, head, output and key of the units in the order of `_grouped`."""
    block, heads = table.uses[0]
    each = len(heads) // table.operators
    found = np.zeros((shape[0], shape[2], len(outputs), 4), np.int64)
    found[..., 0] = block
    found[..., 1] = np.array(heads[::each])[:, None, None]
    found[..., 2] = outputs
    found[..., 3] = np.arange(shape[2])[:, None] if table.is_by_key else -1
    return found.reshape(-1, 4)


def shown_blocks(blocks: Sequence[int]) -> set[int]:
    """The first, a middle and the last of these blocks."""
    ordered = sorted(set(blocks))
    return {ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]}


def _shown(
    table: UnitTable, own: _Table, scores_PML: Tensor, slope: Array, offset: Array
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Place, curve, density and line of the units with the greatest shares in the first heads."""
    block, heads = table.uses[0]
    each = len(heads) // table.operators
    for operator in range(min(table.operators, SHOWN_HEADS)):
        by_share = own.shares[operator].ravel().argsort()[::-1][:SHOWN_UNITS]
        for output, key in zip(*np.unravel_index(by_share, own.shares.shape[1:]), strict=True):
            own_scores = scores_PML[operator, key]
            low, high = quantiles(own_scores, np.array([LEAST, MOST])).tolist()
            grid = torch.linspace(low, high, CURVE, dtype=torch.float64)
            points = grid.expand(own.points.shape[0], own.points.shape[1], CURVE)
            values = table.values(points)[operator, output, key].numpy()
            counts, edges = np.histogram(
                own_scores.numpy(), BINS, range=(low, max(high, low + 1e-9))
            )
            density = counts / max(1, int(own_scores.isfinite().sum())) / np.diff(edges)
            key_name = int(key) if table.is_by_key else -1
            yield (
                np.array([block, heads[operator * each], output, key_name]),
                np.stack([grid.numpy(), values], -1),
                density,
                np.array([slope[operator, output, key], offset[operator, output, key]]),
            )
