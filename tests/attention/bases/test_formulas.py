"""Each basis against an independent evaluation of its formula in float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy.interpolate import BSpline as ScipySpline
from scipy.special import eval_chebyt

from karat.attention.bases import Basis
from karat.attention.bases.bspline import BSpline
from karat.attention.bases.chebyshev import Chebyshev
from karat.attention.bases.dog import DerivativeOfGaussian
from karat.attention.bases.fourier import Fourier
from karat.attention.bases.linear import Linear
from karat.attention.bases.mexican_hat import MexicanHat
from karat.attention.bases.meyer import Meyer
from karat.attention.bases.morlet import Morlet
from karat.attention.bases.rational import Rational
from karat.attention.bases.rbf import RadialBasis
from karat.attention.bases.shannon import Shannon
from tests.attention.bases.coefficients import spread, started

Array = NDArray[np.float64]
Unit = dict[str, Array]
# Values of one unit, and the scale of its relative error: the largest value, or the sum of absolute
# terms if terms cancel.
Formula = Callable[[Array, Unit], tuple[Array, Array]]


def by_largest(values: Array) -> tuple[Array, Array]:
    return values, np.full_like(values, np.abs(values).max())


def fourier(x: Array, unit: Unit) -> tuple[Array, Array]:
    angles = x[:, None] * np.arange(1, len(unit["cos"]) + 1)
    return by_largest(np.cos(angles) @ unit["cos"] + np.sin(angles) @ unit["sin"])


def rational(x: Array, unit: Unit) -> tuple[Array, Array]:
    a, b = unit["a"], np.concatenate([[0.0], unit["b"]])
    below = 1 + np.abs(polynomial.polyval(x, b))
    size = polynomial.polyval(np.abs(x), np.abs(a)) / below
    size *= 1 + polynomial.polyval(np.abs(x), np.abs(b)) / below
    return polynomial.polyval(x, a) / below, size


def bspline(degree: int, extent: float) -> Formula:
    def values(x: Array, unit: Unit) -> tuple[Array, Array]:
        count = len(unit["c"])
        step = 2 * extent / (count - degree)
        total = np.zeros_like(x)
        for i, c in enumerate(unit["c"]):
            knots = -extent + step * (np.arange(i, i + degree + 2) - degree)
            piece = ScipySpline.basis_element(knots, extrapolate=False)
            total += c * np.nan_to_num(piece(x))
        return by_largest(total)

    return values


def chebyshev(x: Array, unit: Unit) -> tuple[Array, Array]:
    return by_largest(sum(c * eval_chebyt(k, np.tanh(x)) for k, c in enumerate(unit["c"])))


def rbf(extent: float) -> Formula:
    def values(x: Array, unit: Unit) -> tuple[Array, Array]:
        count = len(unit["c"])
        centres = np.linspace(-extent, extent, count) if count > 1 else np.zeros(1)
        distance = 2 * extent / (count - 1) if count > 1 else extent
        return by_largest(np.exp(-(((x[:, None] - centres) / distance) ** 2)) @ unit["c"])

    return values


def wavelet(mother: Callable[[Array], Array]) -> Formula:
    def values(x: Array, unit: Unit) -> tuple[Array, Array]:
        return by_largest(unit["w"] * mother((x - unit["tau"]) / max(unit["s"], 0.01)))

    return values


def mexican_hat(t: Array) -> Array:
    return 2 / (np.sqrt(3) * np.pi**0.25) * (t**2 - 1) * np.exp(-(t**2) / 2)


def morlet(omega0: float) -> Callable[[Array], Array]:
    return lambda t: np.real(np.exp(1j * omega0 * t - t**2 / 2))


def dog(x: Array, unit: Unit) -> tuple[Array, Array]:
    step = 1e-20  # derivative by a complex step: exact to rounding
    t = (x + 1j * step - unit["tau"]) / max(unit["s"], 0.01)
    return by_largest(-unit["w"] * np.exp(-(t**2) / 2).imag / step)


def meyer(t: Array) -> Array:
    def nu(u: Array) -> Array:
        u = np.clip(u, 0, 1)
        return u**4 * (35 - 84 * u + 70 * u**2 - 20 * u**3)

    place = nu(np.abs(t))
    m = np.where(place <= 1 / 2, 1.0, np.cos(np.pi / 2 * nu(2 * place - 1)))
    return np.sin(np.pi * np.abs(t)) * np.where(place < 1, m, 0.0)


def shannon(t: Array) -> Array:
    window = 0.54 + 0.46 * np.cos(t / 3)
    return np.sinc(t / np.pi) * np.where(np.abs(t) <= 3 * np.pi, window, 0.0)


def linear(x: Array, unit: Unit) -> tuple[Array, Array]:
    return by_largest(unit["c"][0] * x)


CASES: list[tuple[Basis, Formula]] = [
    (Fourier(), fourier),
    (Fourier(grid_size=7), fourier),
    (Rational(), rational),
    (Rational(numerator_degree=0, denominator_degree=1), rational),
    (Rational(numerator_degree=2, denominator_degree=9), rational),
    (BSpline(), bspline(3, 3.0)),
    (BSpline(grid_size=1, degree=0), bspline(0, 3.0)),
    (BSpline(grid_size=5, degree=0, extent=2.0), bspline(0, 2.0)),
    (BSpline(grid_size=1, degree=1, extent=0.7), bspline(1, 0.7)),
    (BSpline(grid_size=40, degree=5, extent=8.0), bspline(5, 8.0)),
    (Chebyshev(), chebyshev),
    (Chebyshev(degree=1), chebyshev),
    (Chebyshev(degree=12), chebyshev),
    (Linear(), linear),
    (RadialBasis(), rbf(3.0)),
    (RadialBasis(grid_size=1, extent=1.7), rbf(1.7)),
    (RadialBasis(grid_size=2), rbf(3.0)),
    (RadialBasis(grid_size=41, extent=5.0), rbf(5.0)),
    (MexicanHat(), wavelet(mexican_hat)),
    (Morlet(), wavelet(morlet(5.0))),
    (Morlet(omega0=0.5), wavelet(morlet(0.5))),
    (DerivativeOfGaussian(), dog),
    (Meyer(), wavelet(meyer)),
    (Shannon(), wavelet(shannon)),
]


@pytest.mark.parametrize(("basis", "formula"), CASES, ids=[repr(basis) for basis, _ in CASES])
def test_unit_matches_its_formula_to_1e_5(basis: Basis, formula: Formula) -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=300) * 2, rng.uniform(-30, 30, size=200)])
    scores = torch.tensor(np.tile(rows, (2, 1, 1)), dtype=torch.float32)
    coefficients = spread(basis, (2, 3, 1))
    with torch.no_grad():
        if "tau" in coefficients:
            coefficients["tau"][0, 0] = scores[0, 0, 0]
            coefficients["s"][0, 1:, 0] = torch.tensor([0.004, -1.0])
    got = basis.row_sum(scores, coefficients).detach().double().numpy()
    for p, r in np.ndindex(2, 3):
        unit = {name: c[p, r, 0].detach().double().numpy() for name, c in coefficients.items()}
        want, size = formula(scores[p, 0].double().numpy(), unit)
        assert np.all(np.abs(got[p, r] - want) <= 1e-5 * size)


@pytest.mark.parametrize("inputs", [1, 2, 17])
def test_shannon_over_inputs_is_the_windowed_sum(inputs: int) -> None:
    basis = Shannon(window="inputs")
    coefficients = started(basis, (1, 2, inputs), dtype=torch.float64)
    scores = torch.linspace(-30, 30, inputs * 50, dtype=torch.float64).reshape(1, inputs, 50)
    window = np.hamming(inputs)[None, :, None] * np.sinc(scores.numpy() / np.pi)
    want = coefficients["w"].detach().numpy()[0] @ window[0]
    got = basis.row_sum(scores, coefficients)
    np.testing.assert_allclose(got[0].detach().numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 3e-4, 1e-2, 0.0499, 0.0501, 1.0])
def test_shannon_gradient_is_exact_near_its_centre(size: float) -> None:
    scores = torch.tensor([size, -size]).reshape(1, 1, 2).requires_grad_()
    one = {"w": torch.ones(1, 1, 1), "tau": torch.zeros(1, 1, 1), "s": torch.ones(1, 1, 1)}
    Shannon(window="inputs").row_sum(scores, one).sum().backward()  # type: ignore[no-untyped-call]
    t = scores.detach().double().flatten().numpy()
    odd = (1 / 3, -1 / 30, 1 / 840, -1 / 45360, 1 / 3991680)  # of the Taylor series
    want = -sum(c * t ** (2 * k + 1) for k, c in enumerate(odd))
    assert scores.grad is not None
    np.testing.assert_allclose(scores.grad.flatten().numpy(), want, rtol=1e-4, atol=1e-30)
