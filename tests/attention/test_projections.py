"""The simplex projection against a quadratic program, and its gradient."""

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize

from karat.attention.projections import simplex

VECTORS = [
    [0.3, -1.2, 0.9, 2.5, 0.1],
    [5.0, 5.0, 5.0],
    [0.2, 0.2, -3.0, 0.2],
    [-7.0, -7.5, -9.0],
    [1.0, 0.0],
    [30.0, -30.0, 29.9, 0.0],
    [0.4],
]


def by_quadratic_programme(y: np.ndarray) -> np.ndarray:
    found = minimize(
        lambda x: 0.5 * np.sum((x - y) ** 2),
        np.full(len(y), 1 / len(y)),
        jac=lambda x: x - y,
        bounds=[(0, None)] * len(y),
        constraints=LinearConstraint(np.ones((1, len(y))), 1, 1),
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return np.asarray(found.x)


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_projection_solves_the_quadratic_programme(vector: list[float]) -> None:
    got = simplex(torch.tensor([vector], dtype=torch.float64))[0].numpy()
    np.testing.assert_allclose(got, by_quadratic_programme(np.array(vector)), atol=1e-7)
    assert got.sum() == pytest.approx(1)


def test_random_vectors_solve_the_quadratic_programme() -> None:
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(3, 12, 4)) * rng.choice([0.1, 1, 10], size=(3, 1, 4))
    got = simplex(torch.tensor(batch)).numpy()
    for p in range(3):
        for row in range(4):
            wanted = by_quadratic_programme(batch[p, :, row])
            np.testing.assert_allclose(got[p, :, row], wanted, atol=1e-6)


# No entry at the threshold: the projection has a kink there.
@pytest.mark.parametrize("vector", [v for v in VECTORS if v != [1.0, 0.0]], ids=str)
def test_gradient_with_ties_matches_finite_differences(vector: list[float]) -> None:
    y = torch.tensor([vector], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(simplex, y)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6, 2e7])
def test_projection_is_exact_in_float32_for_large_entries(size: float) -> None:
    y = torch.randn(4, 50, 9, generator=torch.Generator().manual_seed(0)) * size
    torch.testing.assert_close(simplex(y).sum(1), torch.ones(4, 9), rtol=0, atol=1e-6)
    torch.testing.assert_close(simplex(y).double(), simplex(y.double()), rtol=0, atol=1e-6)


def test_nan_stays_nan() -> None:
    y = torch.tensor([[1.0, torch.nan, 0.0], [torch.inf, 1.0, 2.0], [0.5, 0.2, 0.3]])
    found = simplex(y)
    assert found[:2].isnan().all()
    torch.testing.assert_close(found[2], y[2])


def test_tie_at_the_threshold_gets_zero_and_a_finite_gradient() -> None:
    y = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    x = simplex(y)
    assert x.tolist() == [[1.0, 0.0, 0.0]]
    x.square().sum().backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()
