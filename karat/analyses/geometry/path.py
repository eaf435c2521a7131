"""The path of the weights over the training, in the plane of its first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karat.analyses.geometry.trained import Trained
from karat.analyses.subject import Snapshot
from karat.errors import AnalysisError, CheckpointError

Array = NDArray[np.float64]
COLUMNS = 2**20  # of the weights that are in float64 at once
NONE = 1e-12  # of a component's variance, relative to the first: below lies rounding


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The plane through the last point of a path along its first two components.

    Args:
        directions: two orthogonal unit vectors (P,).
        places: (T, 2), the points of the path in it; the last is (0, 0).
        explained: (T - 1,), the share of the path's variance along each component, the largest first.
        outside: (T,), the distance of each point from the plane.
    """

    directions: tuple[Tensor, Tensor]
    places: Array
    explained: Array
    outside: Array


def read_path(trained: Trained, path: Sequence[Snapshot]) -> Tensor:
    """The trained parameters at each moment of the path: (T, P).

    Raises:
        AnalysisError: weights cannot be read, or are of another model.
    """
    found = []
    for snapshot in path:
        try:
            found.append(trained.joined(snapshot.read()))
        except CheckpointError as error:
            raise AnalysisError(f"weights of epoch {snapshot.epoch}: {error}") from error
    return torch.stack(found)


def plane_of(path: Tensor) -> Plane:
    """The plane of the first two principal components of `θ_t - θ_T`.

    Source: Li et al. 2018, arXiv 1712.09913, Section 7.2. As in their code the mean over the points is subtracted
    before components are found; coordinates are those of `θ_t - θ_T`, so that the end of the path is at (0, 0). Signs
    are such that the start has no negative coordinate.

    Args:
        path: (T, P), the last point last; T at least 3.

    Raises:
        AnalysisError: the points do not span a plane.
    """
    away = path - path[-1]
    centred = away - away.mean(0)
    values, vectors = np.linalg.eigh(_products(centred, centred))
    values, vectors = values[::-1][:-1].clip(min=0), vectors[:, ::-1]  # the mean takes one
    if not values[0] > 0 or values[1] <= NONE * values[0]:
        raise AnalysisError("the kept weights lie on a line, and span no plane")
    directions = []
    for number in range(2):
        weights = torch.from_numpy(vectors[:, number].copy()).to(path)
        direction = weights @ centred
        direction /= direction.double().norm().to(path)
        directions.append(-direction if direction @ away[0] < 0 else direction)
    both = torch.stack(directions)
    places = _products(away, both)
    lengths = away.double().square().sum(1).numpy()
    outside = np.sqrt((lengths - (places**2).sum(1)).clip(min=0))
    explained = values / values.sum()
    return Plane(directions=(both[0], both[1]), places=places, explained=explained, outside=outside)


def walk_shares(lengths: Array) -> Array:
    """Shares of variance by component of a random walk with steps of these lengths: (T - 1,).

    Steps have random directions in so many dimensions that they are orthogonal. For many equal steps shares go to
    `6 / (π k)²`: 61 %, 15 %, 7 %, ... Source: Antognini and Sohl-Dickstein 2018, arXiv 1806.08805.

    Args:
        lengths: (T - 1,), of the steps.
    """
    times = np.concatenate([[0.0], np.cumsum(lengths**2)])
    covariance = np.minimum.outer(times, times)
    centring = np.eye(len(times)) - 1 / len(times)
    values = np.linalg.eigvalsh(centring @ covariance @ centring)[::-1][:-1].clip(min=0)
    found: Array = values / values.sum()
    return found


def _products(left: Tensor, right: Tensor) -> Array:
    """Scalar products of rows in float64: (A, B) of (A, P) and (B, P)."""
    total = np.zeros((len(left), len(right)))
    for one, other in zip(
        torch.split(left, COLUMNS, 1), torch.split(right, COLUMNS, 1), strict=True
    ):
        total += (one.double() @ other.double().mT).numpy()
    return total
