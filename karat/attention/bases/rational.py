"""The rational basis: `φ(x) = (a_0 + ... + a_m x^m) / (1 + |b_1 x + ... + b_n x^n|)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import Basis, UnitBasis
from karat.attention.initialization import fan_in
from karat.settings import at_least, below

if TYPE_CHECKING:
    from torch import Tensor


TOO_HIGH = 26  # for scores up to 30: 30^26 overflows float32 once several such terms are added


@dataclass(frozen=True, kw_only=True)
class Rational(UnitBasis):
    """`φ(x) = (a_0 + ... + a_m x^m) / (1 + |b_1 x + ... + b_n x^n|)` with a_j, b_j per unit.

    Coefficients of a unit: `a`, shape (m + 1,), and `b`, shape (n,). Source: arXiv 2503.10632,
    Table 6, with (m, n) = (5, 4) in its experiments. `init: paper` draws a_j, b_j ~ N(0, 1).
    Departure: `init: fan_in` draws b_j ~ N(0, 1/(n (2j-1)!!)), so that the polynomial in the
    denominator has variance 1 for x ~ N(0, 1), and a_j ~ N(0, c/(M (2j-1)!!)), with c such that a
    row sum has variance 1 too.

    Args:
        numerator_degree: m, from 0 to 25.
        denominator_degree: n, from 1 to 25.
    """

    numerator_degree: int = 5
    denominator_degree: int = 4

    def __post_init__(self) -> None:
        at_least("numerator_degree", self.numerator_degree, 0)
        at_least("denominator_degree", self.denominator_degree, 1)
        below("numerator_degree", self.numerator_degree, TOO_HIGH)
        below("denominator_degree", self.denominator_degree, TOO_HIGH)

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"a": (self.numerator_degree + 1,), "b": (self.denominator_degree,)}

    def flops_per_unit(self) -> int:
        """m + n + 4 multiply-adds and function calls: two polynomials, |.|, + 1, quotient, sum."""
        return self.numerator_degree + self.denominator_degree + 4

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        out.normal_(generator=generator)
        if start == "paper":
            return
        if name == "a":
            std = fan_in(out.shape[2], self._terms)
            stds = [std * _root(j) for j in range(self.numerator_degree + 1)]
        else:
            n = self.denominator_degree
            stds = [_root(j) / math.sqrt(n) for j in range(1, n + 1)]
        out.mul_(torch.tensor(stds, dtype=out.dtype, device=out.device))

    def _terms(self, x: Tensor) -> Tensor:
        """`x^j / sqrt((2j-1)!!)` times the root mean square of 1/denominator; one row for each j.

        For a given x the denominator is 1 + |z| times a standard deviation, with z ~ N(0, 1), since
        its coefficients are drawn from a normal distribution; the mean is over z.
        """
        m, n = self.numerator_degree, self.denominator_degree
        powers = torch.stack([x**j * _root(j) for j in range(max(m, n) + 1)])
        variance = powers[1 : n + 1].square().mean(0)
        z = torch.linspace(0.0, 8.0, 161, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        density = torch.exp(-z.square() / 2)
        density[0] /= 2
        inverse = 1.0 / (1.0 + variance.sqrt() * z)
        mean_square = (inverse.square() * density).sum(0) / density.sum()
        return powers[: m + 1] * mean_square.sqrt()

    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        return {"a": coefficients["a"] * scale_PRM.unsqueeze(-1), "b": coefficients["b"]}

    def unit(self, x: Any, c: Mapping[str, Any]) -> Any:
        numerator, *lower = reversed(c["a"])
        for each in lower:
            numerator = numerator * x + each
        denominator, *lower = reversed(c["b"])
        for each in lower:
            denominator = denominator * x + each
        return numerator / (1.0 + (denominator * x).abs())

    def units(self, scores_P1ML: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        x_PML = scores_P1ML.squeeze(1)
        powers = [torch.ones_like(x_PML), x_PML]
        while len(powers) <= max(self.numerator_degree, self.denominator_degree):
            powers.append(powers[-1] * x_PML)
        # Matrix products over the powers of x. Horner's rule, as in `unit`, would need m + n passes
        # over all units, and as many in the backward pass, with the same rounding error.
        powers_PMKL = torch.stack(powers, dim=2)
        a_PMRK, b_PMRK = (coefficients[name].transpose(1, 2) for name in ("a", "b"))
        numerator_PMRL = a_PMRK @ powers_PMKL[:, :, : self.numerator_degree + 1]
        denominator_PMRL = b_PMRK @ powers_PMKL[:, :, 1 : self.denominator_degree + 1]
        return (numerator_PMRL / denominator_PMRL.abs().add_(1.0)).transpose(1, 2)

    def refined(self, coefficients: Mapping[str, Tensor], finer: Basis) -> dict[str, Tensor]:
        if isinstance(finer, Rational):
            more = finer.numerator_degree - self.numerator_degree
            more_below = finer.denominator_degree - self.denominator_degree
            if more >= 0 and more_below >= 0:
                return {
                    "a": torch.nn.functional.pad(coefficients["a"], (0, more)),
                    "b": torch.nn.functional.pad(coefficients["b"], (0, more_below)),
                }
        return super().refined(coefficients, finer)


def _root(j: int) -> float:
    """`1/sqrt((2j-1)!!)`; times this, `x^j` has mean square 1 for x ~ N(0, 1)."""
    return 1.0 / math.sqrt(math.prod(range(1, 2 * j, 2)))
