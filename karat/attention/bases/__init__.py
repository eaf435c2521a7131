"""Families of basis functions: one file each, registered in `BASES` by file name.

Shapes: P operators, R outputs, M inputs, L rows of scores (all batches, heads and queries of an
operator), F features. L is the last dimension, so that element-wise operations on features run over
long contiguous memory.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from karat.catalog import Catalog
from karat.errors import CombinationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BASES", "Basis", "LinearBasis", "UnitBasis"]


class Basis(abc.ABC):
    """A family of functions φ of one variable, one for each output r and input m of an operator.

    A basis is a frozen dataclass whose fields are its settings; it holds no tensors. The units
    (`karat.attention.units`) own the coefficients: they get their shapes from `coefficient_shapes`
    and initial values from `initialise`, and call `row_sum` in every forward pass, with scores of
    at least float32. Most families are one of two kinds: `LinearBasis`, a weighted sum of features
    that all units share, or `UnitBasis`, in which the coefficients are inside the function.
    """

    @abc.abstractmethod
    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each named coefficient of one unit; stored with P, R, M in front."""

    @abc.abstractmethod
    def flops_per_unit(self) -> int:
        """Operations of one unit for one score, counted as in the paper if it counts this basis."""

    @abc.abstractmethod
    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        """Fill the coefficient `name` in place.

        Args:
            name: a key of `coefficient_shapes`.
            out: shape (P, R, M, *shape of one unit).
            start: `paper`, as the paper states, or `fan_in`, scaled so that a sum over M inputs
                drawn from N(0, 1) has variance about 1.
            generator: random generator.
        """

    @abc.abstractmethod
    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        """The coefficients of `scale * φ`, for a scale per unit."""

    @abc.abstractmethod
    def row_sum(
        self,
        scores_PML: Tensor,
        coefficients: Mapping[str, Tensor],
        keep_PML: Tensor | None = None,
    ) -> Tensor:
        """`sum_m keep_m φ_rm(score_m)` for every row of scores (paper, equation of Φ̂).

        Args:
            scores_PML: scaled scores, float32 or float64.
            coefficients: as named by `coefficient_shapes`, each (P, R, M, ...).
            keep_PML: 1 for inputs that count and 0 for masked ones, broadcast; None keeps all.

        Returns:
            Tensor of shape (P, R, L).
        """

    def refined(self, coefficients: Mapping[str, Tensor], finer: Basis) -> dict[str, Tensor]:
        """The coefficients of exactly the same functions in a finer basis of this family.

        A family with a grid may be exact only on the grid; then its docstring says so.

        Raises:
            CombinationError: `finer` does not contain these functions.
        """
        if finer == self:
            return dict(coefficients)
        raise CombinationError(
            ("attention.basis",), f"{self} cannot be transferred exactly to {finer}"
        )


class LinearBasis(Basis):
    """A basis whose units are weighted sums of F features: `φ_rm(x) = sum_f c_rmf feature_f(x)`.

    The coefficients, concatenated in the order of `coefficient_shapes`, are the F weights.
    """

    @abc.abstractmethod
    def features(self, scores_PML: Tensor) -> Tensor:
        """Every feature of every score, shape (P, F, M, L)."""

    def write_features(self, scores_PML: Tensor, out_PFML: Tensor) -> None:
        """`features` into existing memory; a family may implement it with fewer passes."""
        out_PFML.copy_(self.features(scores_PML))

    def slope_weights(self, weights_PRFM: Tensor) -> Tensor | None:
        """Weights with which the same features sum to φ'; None if φ' is not such a sum."""
        return None

    @property
    def has_closed_slopes(self) -> bool:
        """Whether φ' is a sum of the same features, that is, `slope_weights` is implemented."""
        return type(self).slope_weights is not LinearBasis.slope_weights

    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        return {name: value * scale_PRM.unsqueeze(-1) for name, value in coefficients.items()}

    def row_sum(
        self,
        scores_PML: Tensor,
        coefficients: Mapping[str, Tensor],
        keep_PML: Tensor | None = None,
    ) -> Tensor:
        features_PFML = self.features(scores_PML)
        if keep_PML is not None:
            features_PFML = features_PFML * keep_PML.unsqueeze(1)
        weights_PRMF = torch.cat([coefficients[name] for name in self.coefficient_shapes()], dim=-1)
        return weights_PRMF.transpose(2, 3).flatten(2) @ features_PFML.flatten(1, 2)


class UnitBasis(Basis):
    """A basis whose coefficients are inside the function, so that every unit must be evaluated."""

    @abc.abstractmethod
    def units(self, scores_P1ML: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        """φ_rm of every score, shape (P, R, M, L); coefficients are (P, R, M, ...)."""

    def row_sum(
        self,
        scores_PML: Tensor,
        coefficients: Mapping[str, Tensor],
        keep_PML: Tensor | None = None,
    ) -> Tensor:
        units_PRML = self.units(scores_PML.unsqueeze(1), coefficients)
        if keep_PML is not None:
            units_PRML = units_PRML * keep_PML.unsqueeze(1)
        return units_PRML.sum(2)


BASES = Catalog(Basis, "attention.basis")  # type: ignore[type-abstract]
