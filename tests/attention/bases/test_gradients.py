"""Gradients of every basis against finite differences, over scores and coefficients."""

import pytest
import torch
from torch import Tensor

from karat.attention.bases import BASES, Basis
from karat.attention.bases._wavelet import Wavelet
from karat.attention.bases.bspline import BSpline
from karat.attention.bases.morlet import Morlet
from karat.attention.bases.rational import Rational
from karat.attention.bases.shannon import Shannon
from tests.attention.bases.coefficients import spread

CASES: list[Basis] = [BASES[name]() for name in sorted(BASES)] + [
    BSpline(grid_size=2, degree=2, extent=1.0),
    BSpline(grid_size=3, degree=0),
    Morlet(omega0=1.5),
    Rational(numerator_degree=0, denominator_degree=1),
    Shannon(window="inputs"),
]


def case(basis: Basis) -> tuple[list[str], tuple[Tensor, ...]]:
    coefficients = spread(basis, (1, 2, 3), dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(1, 3, 6, dtype=torch.float64, generator=generator) * 1.5
    return list(coefficients), (scores.requires_grad_(), *coefficients.values())


@pytest.mark.parametrize("basis", CASES, ids=repr)
def test_gradients_match_finite_differences(basis: Basis) -> None:
    names, values = case(basis)

    def row_sum(scores: Tensor, *own: Tensor) -> Tensor:
        return basis.row_sum(scores, dict(zip(names, own, strict=True)))

    assert torch.autograd.gradcheck(row_sum, values)


@pytest.mark.parametrize("window", ["score", "inputs"])
def test_shannon_gradients_match_finite_differences_at_its_centre(window: str) -> None:
    basis = Shannon(window=window)  # type: ignore[arg-type]
    names, (scores, *own) = case(basis)
    with torch.no_grad():
        scores.zero_()
        own[names.index("tau")].zero_()

    def row_sum(scores: Tensor, *own: Tensor) -> Tensor:
        return basis.row_sum(scores, dict(zip(names, own, strict=True)))

    assert torch.autograd.gradcheck(row_sum, (scores, *own))


@pytest.mark.parametrize(
    "basis", [basis for basis in CASES if isinstance(basis, Wavelet)], ids=repr
)
def test_slopes_of_wavelets_can_be_differentiated_again(basis: Wavelet) -> None:
    names, values = case(basis)

    def row_sum(scores: Tensor, *own: Tensor) -> Tensor:
        return basis.row_sum(scores, dict(zip(names, own, strict=True)))

    assert torch.autograd.gradgradcheck(row_sum, values)
