"""The contract of every basis."""

from typing import Any

import pytest
import torch
from torch import Tensor

from karat.attention.bases import BASES, Basis
from karat.attention.bases.bspline import BSpline
from karat.attention.bases.chebyshev import Chebyshev
from karat.attention.bases.fourier import Fourier
from karat.attention.bases.morlet import Morlet
from karat.attention.bases.rational import Rational
from karat.attention.bases.rbf import RadialBasis
from karat.attention.bases.shannon import Shannon
from karat.attention.names import settings_of
from karat.errors import CombinationError, SettingError
from tests.attention.bases.coefficients import spread, started

EVERY = [BASES[name]() for name in sorted(BASES)]
MORE = [
    Fourier(grid_size=1),
    Rational(numerator_degree=0, denominator_degree=1),
    Rational(numerator_degree=25, denominator_degree=25),
    BSpline(grid_size=1, degree=0),
    BSpline(grid_size=64, degree=7, extent=0.1),
    Chebyshev(degree=20),
    RadialBasis(grid_size=1),
    Morlet(omega0=40.0),
    Shannon(window="inputs"),
]
every_basis = pytest.mark.parametrize("basis", EVERY + MORE, ids=repr)


@every_basis
@pytest.mark.parametrize("start", ["paper", "fan_in"])
def test_basis_is_finite_with_finite_gradients_on_minus_30_to_30(basis: Basis, start: str) -> None:
    coefficients = started(basis, (2, 3, 5), start)
    scores = torch.linspace(-30, 30, 2 * 5 * 41).reshape(2, 5, 41).requires_grad_()
    out = basis.row_sum(scores, coefficients)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert out.shape == (2, 3, 41)
    assert torch.isfinite(out).all()
    for value in [scores, *coefficients.values()]:
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()


@every_basis
def test_same_seed_gives_the_same_initial_coefficients(basis: Basis) -> None:
    first, again = (started(basis, (2, 3, 5), seed=7) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, again[name])


@every_basis
def test_scaled_coefficients_give_scaled_functions(basis: Basis) -> None:
    coefficients = spread(basis, (2, 3, 1), dtype=torch.float64)
    scores = torch.randn(2, 1, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scale = torch.randn(2, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    scaled = basis.scaled(coefficients, scale)
    for name, shape in basis.coefficient_shapes().items():
        assert scaled[name].shape == (2, 3, 1, *shape)
    torch.testing.assert_close(
        basis.row_sum(scores, scaled), scale * basis.row_sum(scores, coefficients)
    )


@every_basis
def test_masked_inputs_contribute_nothing(basis: Basis) -> None:
    coefficients = spread(basis, (2, 3, 5), dtype=torch.float64)
    scores = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    keep = torch.ones_like(scores)
    torch.testing.assert_close(
        basis.row_sum(scores, coefficients, keep), basis.row_sum(scores, coefficients)
    )
    keep[:, 1] = 0
    keep[0, 3, 4:] = 0
    other = torch.where(keep == 0, scores + 0.7, scores)
    torch.testing.assert_close(
        basis.row_sum(other, coefficients, keep), basis.row_sum(scores, coefficients, keep)
    )
    nothing = basis.row_sum(scores, coefficients, torch.zeros_like(keep))
    assert torch.equal(nothing, torch.zeros_like(nothing))


@pytest.mark.parametrize(
    "basis",
    [*EVERY, Fourier(grid_size=5), BSpline(grid_size=20, degree=1), Shannon(window="inputs")],
    ids=repr,
)
def test_fan_in_gives_row_sums_of_variance_one(basis: Basis) -> None:
    coefficients = started(basis, (1, 64, 197), "fan_in")
    scores = torch.randn(1, 197, 200, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = basis.row_sum(scores, coefficients)
    assert 0.75 < out.std().item() < 1.3


@every_basis
def test_basis_can_be_exported(basis: Basis) -> None:
    class RowSum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.coefficients = torch.nn.ParameterDict(started(basis, (2, 3, 5)))

        def forward(self, scores: Tensor) -> Tensor:
            return basis.row_sum(scores, dict(self.coefficients.items()))

    module, scores = RowSum(), torch.linspace(-4, 4, 60).reshape(2, 5, 6)
    exported = torch.export.export(module, (scores,)).module()
    torch.testing.assert_close(exported(scores), module(scores))


@pytest.mark.parametrize(
    ("basis", "finer"),
    [
        (Fourier(grid_size=2), Fourier(grid_size=4)),
        (Rational(), Rational(numerator_degree=7, denominator_degree=4)),
        (Rational(numerator_degree=0, denominator_degree=1), Rational()),
        (Chebyshev(degree=2), Chebyshev(degree=9)),
        (BSpline(), BSpline(grid_size=10)),
        (BSpline(grid_size=3, degree=0), BSpline(grid_size=6, degree=0)),
        (BSpline(grid_size=1, degree=4), BSpline(grid_size=3, degree=4)),
        *((basis, basis) for basis in EVERY),
    ],
    ids=repr,
)
def test_refined_coefficients_give_the_same_functions(basis: Basis, finer: Basis) -> None:
    coefficients = spread(basis, (2, 3, 5), dtype=torch.float64)
    edge = getattr(basis, "extent", 30.0)
    scores = torch.rand(2, 5, 99, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scores = edge * (2 * scores - 1)
    refined = basis.refined(coefficients, finer)
    for name, shape in finer.coefficient_shapes().items():
        assert refined[name].shape == (2, 3, 5, *shape)
    torch.testing.assert_close(
        finer.row_sum(scores, refined), basis.row_sum(scores, coefficients), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize(
    ("basis", "other"),
    [
        (Fourier(grid_size=4), Fourier(grid_size=2)),
        (Rational(), Rational(numerator_degree=9, denominator_degree=3)),
        (Rational(), Rational(numerator_degree=4, denominator_degree=9)),
        (Chebyshev(), Chebyshev(degree=3)),
        (BSpline(grid_size=10), BSpline()),
        (BSpline(), BSpline(grid_size=12)),
        (BSpline(), BSpline(grid_size=10, degree=2)),
        (BSpline(), BSpline(grid_size=10, extent=4.0)),
        (RadialBasis(), RadialBasis(grid_size=15)),
        (Morlet(), Morlet(omega0=6.0)),
        (Shannon(), Shannon(window="inputs")),
        (BSpline(), Chebyshev(degree=8)),
    ],
    ids=repr,
)
def test_refinement_that_is_not_exact_is_refused(basis: Basis, other: Basis) -> None:
    with pytest.raises(CombinationError, match="cannot be transferred exactly"):
        basis.refined(started(basis, (1, 2, 3)), other)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fourier", {"grid_size": 0}, "grid_size = 0: must be at least 1"),
        ("rational", {"numerator_degree": -1}, "numerator_degree = -1: must be at least 0"),
        ("rational", {"numerator_degree": 26}, "numerator_degree = 26: must be less than 26"),
        ("rational", {"denominator_degree": 0}, "denominator_degree = 0: must be at least 1"),
        ("rational", {"denominator_degree": 30}, "denominator_degree = 30: must be less than 26"),
        ("bspline", {"grid_size": 0}, "grid_size = 0: must be at least 1"),
        ("bspline", {"degree": -1}, "degree = -1: must be at least 0"),
        ("bspline", {"extent": 0.0}, "extent = 0.0: must be greater than 0"),
        ("chebyshev", {"degree": 0}, "degree = 0: must be at least 1"),
        ("rbf", {"grid_size": 0}, "grid_size = 0: must be at least 1"),
        ("rbf", {"extent": -2.0}, "extent = -2.0: must be greater than 0"),
        ("morlet", {"omega0": 0.0}, "omega0 = 0.0: must be greater than 0"),
    ],
)
def test_wrong_setting_is_refused_with_value_and_rule(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=f"^{message}$"):
        BASES[name](**settings)


def test_settings_of_a_basis_are_among_the_general_ones() -> None:
    assert {"grid_size", "rank", "basis"} <= settings_of({"basis": "fourier"})
    assert settings_of({"basis": "softmax"}) == {"mechanism", "basis"}
