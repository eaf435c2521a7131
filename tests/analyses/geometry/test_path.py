"""The plane of a path where it is known, and what a random walk looks like."""

import numpy as np
import pytest
import torch
from torch import Tensor

from karat.analyses.geometry.path import plane_of, walk_shares
from karat.errors import AnalysisError


def draws(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_walk_in_a_known_plane_is_found_again() -> None:
    basis, _ = torch.linalg.qr(draws(300, 2))
    places = draws(9, 2).cumsum(0) * torch.tensor([3.0, 1.0], dtype=torch.float64)
    found = plane_of(places @ basis.mT + 5)
    assert found.explained[:2].sum() == pytest.approx(1)
    np.testing.assert_allclose(found.outside, 0, atol=1e-6)
    np.testing.assert_allclose(found.places[-1], 0, atol=1e-12)
    known = (places - places[-1]).numpy()
    np.testing.assert_allclose(np.linalg.norm(found.places, axis=1), np.linalg.norm(known, axis=1))
    # Components are the axes along which the known places vary most and least.
    values, vectors = np.linalg.eigh(np.cov(known.T))
    turned = known @ vectors[:, ::-1]
    turned *= np.where(turned[0] < 0, -1, 1)
    np.testing.assert_allclose(found.places, turned, atol=1e-9)
    np.testing.assert_allclose(found.explained[:2], values[::-1] / values.sum())
    assert (found.places[0] >= 0).all()
    rebuilt = found.places[:, :1] * found.directions[0].numpy()
    rebuilt = rebuilt + found.places[:, 1:] * found.directions[1].numpy()
    np.testing.assert_allclose(rebuilt, known @ basis.mT.numpy(), atol=1e-9)


def test_an_isotropic_random_walk_has_the_known_shares() -> None:
    walk = draws(300, 4000).cumsum(0)
    found = plane_of(walk).explained
    known = 6 / (np.pi * np.arange(1, 4)) ** 2  # Antognini and Sohl-Dickstein 2018: 61, 15 and 7 %
    np.testing.assert_allclose(found[:3], known, rtol=0.05)
    np.testing.assert_allclose(walk_shares(np.ones(299))[:3], known, rtol=0.01)


def test_shares_of_a_walk_are_those_of_orthogonal_steps_of_its_lengths() -> None:
    lengths = np.array([3.0, 1.0, 0.5, 2.0])
    path = torch.zeros(5, 4, dtype=torch.float64)
    path[1:] = torch.from_numpy(np.diag(lengths)).cumsum(0)
    np.testing.assert_allclose(walk_shares(lengths), plane_of(path).explained)
    assert walk_shares(np.array([1.0, 2.0])).sum() == pytest.approx(1)  # three moments, two shares


def test_a_path_on_a_line_has_no_plane() -> None:
    line = torch.arange(4.0, dtype=torch.float64)[:, None] * draws(1, 50)
    for path in (line, torch.zeros(4, 50)):
        with pytest.raises(AnalysisError, match="lie on a line"):
            plane_of(path)
