"""The nearest simple function, where it is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from karat.analyses.attention.learned.simple import SIMPLE, fit, linear_fit

Array = NDArray[np.float64]
X = np.random.default_rng(0).normal(0.3, 1.2, (3, 4096))
POINTS = np.quantile(X, (np.arange(65) + 0.5) / 65, axis=1).T  # three groups of scores


def fitted(y: Array) -> tuple[str, dict[str, float]]:
    """The nearest function of each group, which must be the same, and the mean R² of each."""
    found = fit(POINTS, y[:, None])
    (best,) = {SIMPLE[each] for each in found.best.ravel()}
    return best, dict(zip(SIMPLE, found.r2.mean((0, 1)), strict=True))


@pytest.mark.parametrize(
    ("name", "y"),
    [
        ("constant", 0 * POINTS + 3.0),
        ("linear", 0.7 - 2 * POINTS),
        ("quadratic", 1 + POINTS - 0.4 * POINTS**2),
        ("exponential", 5 - 2 * np.exp(-0.83 * POINTS)),
        ("sigmoid", 1 - 3 / (1 + np.exp(-2.7 * (POINTS - 0.44)))),
        ("cosine", 2 * np.cos(1.37 * POINTS) - np.sin(1.37 * POINTS) + 1),
        ("cosine", np.sin(5.1 * POINTS)),
    ],
)
def test_a_simple_function_is_found_as_itself_and_explained_whole(name: str, y: Array) -> None:
    best, r2 = fitted(y)
    assert best == name
    assert r2[name] == pytest.approx(1, abs=1e-6)


def test_r2_is_that_of_least_squares_by_another_way() -> None:
    y = np.tanh(POINTS) + 0.3 * POINTS**3
    found = fit(POINTS, y[:, None])
    for group, (x, values) in enumerate(zip(POINTS, y, strict=True)):
        for degree, name in ((1, "linear"), (2, "quadratic")):
            left = values - np.polyval(np.polyfit(x, values, degree), x)
            wanted = 1 - left.var() / values.var()
            assert found.r2[group, 0, SIMPLE.index(name)] == pytest.approx(wanted)
        slope, offset = np.polyfit(x, values, 1)
        assert found.slope[group, 0] == pytest.approx(slope)
        assert found.offset[group, 0] == pytest.approx(offset)


def test_nonlinear_fits_are_as_good_as_those_of_an_optimiser() -> None:
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(1)
    x = POINTS[0]
    noisy = np.tanh(1.7 * (x - 0.2)) + 0.2 * rng.normal(size=x.size)
    forms = {
        "exponential": (lambda x, c, s, k: c + s * np.exp(k * x), (0, 1, 0.3)),
        "sigmoid": (lambda x, c, s, k, m: c + s / (1 + np.exp(-k * (x - m))), (-1, 2, 3, 0)),
        "cosine": (lambda x, c, s, t, k: c + s * np.cos(k * x) + t * np.sin(k * x), (0, 0, 1, 1)),
    }
    found = fit(x[None], noisy[None, None]).r2[0, 0]
    for name, (form, start) in forms.items():
        values, _ = curve_fit(form, x, noisy, start, maxfev=20_000)
        wanted = 1 - (noisy - form(x, *values)).var() / noisy.var()
        assert found[SIMPLE.index(name)] >= wanted - 1e-4, name


def test_scores_that_do_not_vary_give_a_line_without_slope() -> None:
    slope, offset = linear_fit(np.full((1, 65), 2.0), np.full((1, 2, 65), 5.0))
    assert (slope == 0).all()
    assert (offset == 5).all()
    assert (fit(np.full((1, 65), 2.0), np.full((1, 2, 65), 5.0)).best == 0).all()
