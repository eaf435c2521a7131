"""Families of basis functions: one file each, registered in `BASES` by file name.

Shapes: P operators, R outputs, M inputs, L rows of scores (all batches, heads and queries of an
operator), F features. L is the last dimension, so that element-wise operations on features run over
long contiguous memory.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

    @property
    def has_formula(self) -> bool:
        """Whether the functions are stated for one score, from which fast kernels are made."""
        return False

    def prepared(self, coefficients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The coefficients as the functions take them, of the same shapes; the parameters
        themselves unless a family overrides this.
        """
        return coefficients

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

    The coefficients, concatenated in the order of `coefficient_shapes`, are the F weights. A family
    implements `terms`, from which everything else follows; or `features` alone, in any operations of
    torch, and then no fast kernel is made.
    """

    def terms(self, x: Any) -> Sequence[Any]:
        """The F features of one score, as tensors like it or numbers.

        Args:
            x: scores, a tensor of any shape; or an expression of `karat.attention.formulas`, which
                has the arithmetic of a tensor and the methods that the other families use.
        """
        raise NotImplementedError

    def term_slopes(self, x: Any, terms: Sequence[Any]) -> Sequence[Any] | None:
        """The derivative of each of the `terms` of x, where these give it for less than a
        differentiation would; None leaves it to that.
        """
        return None

    @property
    def has_formula(self) -> bool:
        return type(self).terms is not LinearBasis.terms

    def features(self, scores_PML: Tensor) -> Tensor:
        """Every feature of every score, shape (P, F, M, L)."""
        terms = [
            torch.full_like(scores_PML, each) if isinstance(each, int | float) else each
            for each in self.terms(scores_PML)
        ]
        return torch.stack(terms, dim=1)

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
    """A basis whose coefficients are inside the function, so that every unit must be evaluated.

    A family implements `unit`, from which everything else follows; or `units` alone, in any
    operations of torch, and then no fast kernel is made.
    """

    def unit(self, x: Any, c: Mapping[str, Any]) -> Any:
        """φ of one score.

        Args:
            x: scores or an expression, as for `LinearBasis.terms`.
            c: the coefficients, `prepared`, as tensors that broadcast to the scores, or
                expressions; a list of these where a unit has several.
        """
        raise NotImplementedError

    @property
    def has_formula(self) -> bool:
        return type(self).unit is not UnitBasis.unit

    def units(self, scores_P1ML: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        """φ_rm of every score, shape (P, R, M, L); coefficients are (P, R, M, ...), `prepared`."""
        shapes = self.coefficient_shapes()
        columns = {
            name: value[..., None, :].unbind(-1) if shapes[name] else value.unsqueeze(-1)
            for name, value in coefficients.items()
        }
        units_PRML: Tensor = self.unit(scores_P1ML, columns)
        return units_PRML

    def row_sum(
        self,
        scores_PML: Tensor,
        coefficients: Mapping[str, Tensor],
        keep_PML: Tensor | None = None,
    ) -> Tensor:
        units_PRML = self.units(scores_PML.unsqueeze(1), self.prepared(coefficients))
        if keep_PML is not None:
            units_PRML = units_PRML * keep_PML.unsqueeze(1)
        return units_PRML.sum(2)


BASES = Catalog(Basis, "attention.basis")  # type: ignore[type-abstract]
