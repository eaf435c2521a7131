"""The Chebyshev basis: `φ(x) = sum_{k=0..n} c_k T_k(tanh x)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import Basis, LinearBasis
from karat.attention.initialization import fan_in
from karat.settings import at_least

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Chebyshev(LinearBasis):
    """`φ(x) = sum_{k=0..n} c_k T_k(tanh x)`, Chebyshev polynomials, with c_k per unit.

    Coefficients of a unit: `c`, shape (n + 1,). Not in the KArAt paper (arXiv 2503.10632);
    source: ChebyKAN, arXiv 2405.07200. `init: paper` draws c_k ~ N(0, 1), as the KArAt paper for
    its bases. Departure: `init: fan_in` draws N(0, 1/(M sum_k E[T_k(tanh x)²])), x ~ N(0, 1).

    Args:
        degree: n, at least 1.
    """

    degree: int = 4

    def __post_init__(self) -> None:
        at_least("degree", self.degree, 1)

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"c": (self.degree + 1,)}

    def flops_per_unit(self) -> int:
        """n + 1 multiply-adds: the weighted sum; the features are shared by all units."""
        return self.degree + 1

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        std = 1.0 if start == "paper" else fan_in(out.shape[2], self.features)
        out.normal_(0.0, std, generator=generator)

    def terms(self, x: Any) -> list[Any]:
        z = x.tanh()
        polynomials: list[Any] = [1.0, z]
        for _ in range(self.degree - 1):
            polynomials.append(2 * z * polynomials[-1] - polynomials[-2])
        return polynomials

    def term_slopes(self, x: Any, terms: Sequence[Any]) -> list[Any]:
        """`k U_{k-1}(z) (1 - z²)`, with the Chebyshev polynomials U of the second kind."""
        z = terms[1]
        inner = 1 - z * z
        second: list[Any] = [1.0, 2 * z]
        while len(second) < self.degree:
            second.append(2 * z * second[-1] - second[-2])
        return [0.0, *(k * second[k - 1] * inner for k in range(1, self.degree + 1))]

    def refined(self, coefficients: Mapping[str, Tensor], finer: Basis) -> dict[str, Tensor]:
        if isinstance(finer, Chebyshev) and finer.degree >= self.degree:
            return {
                "c": torch.nn.functional.pad(coefficients["c"], (0, finer.degree - self.degree))
            }
        return super().refined(coefficients, finer)
