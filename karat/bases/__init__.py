"""Basis function families: one file each, found by `BASES`.

Shapes: P operators, M keys, L rows of scores (all batches, heads and queries of an operator; last,
so that work on features runs over long contiguous memory), R rank.
"""

import abc
from collections.abc import Mapping

import torch
from torch import Tensor

from karat.catalog import Catalog


class Basis(abc.ABC):
    """A family of one-variable functions φ, one for each rank row r and key m of an operator.

    A basis is a frozen dataclass whose fields are its settings; it holds no tensors. The
    operator (`karat.attention`) owns the coefficients, asks `coefficient_shapes` for their
    shapes, `initialise` for their start, and calls `row_sum` in every forward pass.
    """

    @abc.abstractmethod
    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each named coefficient of one unit; stored with P, R, M in front."""

    @abc.abstractmethod
    def flops_per_unit(self) -> int:
        """Operations of one unit for one score, as the paper counts them."""

    @abc.abstractmethod
    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        """Fill the coefficient `name` in place.

        Args:
            name: a key of `coefficient_shapes`.
            out: shape (P, R, M, *shape of one unit).
            start: `paper`, the start that the paper states, or `fan_in`, which scales it so
                that a row sum over M keys starts with variance about 1.
            generator: where random numbers come from.
        """

    @abc.abstractmethod
    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        """The coefficients of `scale * φ`, for a learned scale per unit."""

    @abc.abstractmethod
    def row_sum(self, scores_PML: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        """`sum_m φ_rm(score_m)` for every row of scores (paper, equation of Φ̂).

        Args:
            scores_PML: scaled scores, any float dtype.
            coefficients: as named by `coefficient_shapes`, each (P, R, M, ...).

        Returns:
            Tensor of shape (P, R, L).
        """


BASES = Catalog(Basis, "attention.basis")  # type: ignore[type-abstract]
