"""The simple function that is nearest to a learned one, over the scores that occur.

A learned function is given by its values y at K scores of equal probability, the middles of K parts of the
distribution of the scores. So sums over these points are means over the scores that occur, and least squares are
weighted by their density. Shapes: G groups of functions with the same scores, R functions in a group, K points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Functions of a score x with as many numbers, c, s and t being least squares: c; c + s x; c + s x + t x²;
# c + s exp(k x); c + s / (1 + exp(-k (x - m))); c + s cos kx + t sin kx.
SIMPLE = ("constant", "linear", "quadratic", "exponential", "sigmoid", "cosine")
PARAMETERS = np.array([1, 2, 3, 3, 4, 4])
LEAST_ERROR = (
    1e-12  # as a share of the variance: below lies rounding, and all functions count as exact
)
_RATES = np.array([0.1, 0.25, 0.5, 1.0, 2.0, 4.0])  # of the exponential, per standard deviation
_SLOPES = np.array([0.75, 1.5, 3.0, 6.0, 12.0])  # of the sigmoid, per standard deviation
_STEPS = 0.5 ** np.arange(1, 17)  # of the search around the best of a grid
_WAVES = (
    *0.25 * 1.3 ** np.arange(8),
    *np.arange(4, 25) / 2,
)  # of the cosine: half-waves over the scores


@dataclass(frozen=True, kw_only=True)
class Fits:
    """The simple functions fitted to learned ones.

    Args:
        r2: (G, R, 6), the share of the variance over the scores that each function of `SIMPLE` explains.
        best: (G, R), number in `SIMPLE` of the one with the lowest BIC, `K log(1 - R²) + p log K` with p
            parameters: one more must lower the error by 6 % at K = 65.
        slope, offset: (G, R), of the linear fit.
    """

    r2: Array
    best: NDArray[np.int64]
    slope: Array
    offset: Array


def linear_fit(x_GK: Array, y_GRK: Array) -> tuple[Array, Array]:
    """Slope and offset of the least squares line of each function, (G, R)."""
    x = _centred(x_GK)
    spread = (x**2).sum(-1)[:, None]
    products = np.einsum("gk,grk->gr", x, y_GRK)
    slope = np.divide(products, spread, out=np.zeros_like(products), where=spread > 0)
    return slope, y_GRK.mean(-1) - slope * x_GK.mean(-1)[:, None]


def fit(x_GK: Array, y_GRK: Array) -> Fits:
    """Fit all simple functions.

    Args:
        x_GK: scores of equal probability.
        y_GRK: values of the functions there.
    """
    spread = x_GK.std(-1, keepdims=True)
    z_GK = (x_GK - x_GK.mean(-1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    centred = _centred(y_GRK)
    total = (centred**2).sum(-1)
    # A function that varies by no more than rounding is a constant.
    is_constant = total <= 1e-12 * (y_GRK**2).sum(-1)
    y = centred / np.sqrt(np.where(is_constant, 1.0, total))[..., None]
    found = [
        np.zeros(total.shape),
        r2_of_one(z_GK[:, None], y),
        _of_two(z_GK[:, None], z_GK[:, None] ** 2, y),
        _exponential(z_GK, y),
        _sigmoid(z_GK, y),
        _cosine(z_GK, y),
    ]
    r2 = np.where(is_constant[..., None], 1.0, np.clip(np.stack(found, -1), 0.0, 1.0))
    points = x_GK.shape[1]
    bic = points * np.log(np.maximum(1 - r2, LEAST_ERROR)) + PARAMETERS * math.log(points)
    slope, offset = linear_fit(x_GK, y_GRK)
    return Fits(r2=r2, best=bic.argmin(-1), slope=slope, offset=offset)


def _centred(values: Array) -> Array:
    found: Array = values - values.mean(-1, keepdims=True)
    return found


def r2_of_one(h: Array, y_GRK: Array) -> Array:
    """R² of c + s h, for values y of mean 0 and norm 1; h is (G, 1 or R, K)."""
    h = _centred(h)
    norm = (h**2).sum(-1)
    if h.shape[1] == 1:
        product = (y_GRK @ h.swapaxes(1, 2))[..., 0]
    else:
        product = np.einsum("grk,grk->gr", h, y_GRK)
    found: Array = np.divide(product**2, norm, out=np.zeros_like(product), where=norm > 0)
    return found


def _of_two(h: Array, j: Array, y_GRK: Array) -> Array:
    """R² of c + s h + t j; of h and j alike."""
    first, h = r2_of_one(h, y_GRK), _centred(h)
    norm = (h**2).sum(-1, keepdims=True)
    j = _centred(j)
    before = (j**2).sum(-1, keepdims=True)
    j = j - h * np.divide((h * j).sum(-1, keepdims=True), norm, where=norm > 0, out=0 * norm)
    left = (j**2).sum(-1, keepdims=True)
    # What h explains of j up to rounding is no second direction.
    return first + r2_of_one(np.where(left > 1e-10 * before, j, 0.0), y_GRK)


def _exponential(z_GK: Array, y: Array) -> Array:
    def r2(rates: Sequence[Array]) -> Array:
        # Of the greatest exponent 0, since a factor is free.
        exponents = rates[0][..., None] * z_GK[:, None]
        return r2_of_one(np.exp(exponents - exponents.max(-1, keepdims=True)), y)

    grid = [(sign * rate,) for rate in _RATES for sign in (1.0, -1.0)]
    return _searched(r2, grid, (2.0,), y.shape[:2])


def _sigmoid(z_GK: Array, y: Array) -> Array:
    def r2(places: Sequence[Array]) -> Array:
        slope, middle = (each[..., None] for each in places)
        # The upper half by the lower one, since exp of large numbers overflows.
        return r2_of_one(np.tanh(0.5 * slope * (z_GK[:, None] - middle)), y)

    grid = [(slope, middle) for slope in _SLOPES for middle in np.linspace(-2, 2, 9)]
    return _searched(r2, grid, (2.0, None), y.shape[:2])


def _cosine(z_GK: Array, y: Array) -> Array:
    # By group in half-waves over the range of its scores.
    width = np.ptp(z_GK, axis=-1)
    unit = math.pi / np.where(width > 0, width, 1.0)[:, None, None]

    def r2(waves: Sequence[Array]) -> Array:
        angle = waves[0][..., None] * unit * z_GK[:, None]
        return _of_two(np.cos(angle), np.sin(angle), y)

    return _searched(r2, [(waves,) for waves in _WAVES], (1.25,), y.shape[:2])


def _searched(
    r2: Callable[[Sequence[Array]], Array],
    grid: Sequence[tuple[float, ...]],
    factors: Sequence[float | None],
    shape: tuple[int, ...],
) -> Array:
    """The greatest R² of each function over parameters: the best of a grid, then steps around it.

    Args:
        r2: of parameters of shape (G, 1) or (G, R).
        grid: parameters to begin with.
        factors: of each parameter, by how much a first step multiplies it; None for steps of 0.5 that are added.
        shape: (G, R).
    """
    best = np.full(shape, -1.0)
    at = [np.zeros(shape) for _ in factors]
    for places in grid:
        found = r2([np.full((shape[0], 1), place) for place in places])
        is_better = found > best
        best = np.where(is_better, found, best)
        at = [np.where(is_better, place, old) for place, old in zip(places, at, strict=True)]
    for step in _STEPS:
        for number, factor in enumerate(factors):
            for sign in (1.0, -1.0):
                tried = list(at)
                moved = at[number] + sign * step
                tried[number] = moved if factor is None else at[number] * factor ** (sign * step)
                found = r2(tried)
                is_better = found > best
                best = np.where(is_better, found, best)
                at[number] = np.where(is_better, tried[number], at[number])
    return best
