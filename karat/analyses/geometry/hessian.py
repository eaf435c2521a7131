"""Extreme eigenvalues and trace of a Hessian that is known by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karat.errors import AnalysisError
from karat.seeds import derive

Array = NDArray[np.float64]
Product = Callable[[Tensor], Tensor]
TOLERANCE = 1e-2  # relative, of eigenvalues
SUBSPACE = 20  # vectors that Lanczos' method keeps
MOST_RESTARTS = 40


class Ends(NamedTuple):
    """Eigenvalues at both ends of a spectrum, by value and not by size.

    Args:
        largest: the largest first.
        least: the least first.
    """

    largest: Array
    least: Array


class Trace(NamedTuple):
    """An estimate of a trace, and the standard error of it."""

    value: float
    error: float


def extreme_eigenvalues(
    times: Product, size: int, count: int, *, tolerance: float = TOLERANCE
) -> Ends:
    """The largest and the least eigenvalues.

    Lanczos' method, `scipy.sparse.linalg.eigsh`, from a random vector with a fixed seed.

    Args:
        times: product of the symmetric matrix with a vector (P,).
        size: P.
        count: how many of each end, at least 1.
        tolerance: relative accuracy.

    Raises:
        AnalysisError: the method does not converge, or a product is not finite.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    def product(vector: Array) -> Array:
        found: Array = times(torch.from_numpy(vector.reshape(-1))).double().numpy()
        if not np.isfinite(found).all():
            raise AnalysisError("second derivatives of the loss are not finite")
        return found

    if size <= SUBSPACE:  # so few that the matrix itself is at hand
        every = np.linalg.eigvalsh(np.stack([product(row) for row in np.eye(size)]))
        return Ends(every[::-1][:count], every[:count])
    start = np.random.default_rng(derive("lanczos")).standard_normal(size)
    try:
        found = eigsh(
            LinearOperator((size, size), matvec=product, dtype=np.float64),
            k=2 * count,
            which="BE",
            ncv=min(size, max(SUBSPACE, 4 * count)),
            v0=start,
            tol=tolerance,
            maxiter=MOST_RESTARTS,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        raise AnalysisError("the eigenvalues of the Hessian do not converge") from error
    ascending = np.sort(np.asarray(found, dtype=np.float64))
    return Ends(ascending[::-1][:count], ascending[:count])


def trace(times: Product, size: int, probes: int) -> Trace:
    """Hutchinson's estimate of the trace: the mean of `zᵀ H z` over random vectors z of ±1, with its standard error.

    Args:
        times: product of the symmetric matrix with a vector (P,).
        size: P.
        probes: number of vectors z, at least 2.
    """
    generator = torch.Generator().manual_seed(derive("hutchinson"))
    found = []
    for _ in range(probes):
        signs = 2.0 * torch.randint(0, 2, (size,), generator=generator, dtype=torch.float64) - 1.0
        found.append(float(signs @ times(signs).double()))
    values = np.array(found)
    return Trace(float(values.mean()), float(values.std(ddof=1) / np.sqrt(probes)))
