"""The radial basis: `φ(x) = sum_{i<G} c_i exp(-((x - μ_i)/h)²)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import LinearBasis
from karat.attention.initialization import fan_in
from karat.settings import above, at_least

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RadialBasis(LinearBasis):
    """`φ(x) = sum_{i<G} c_i exp(-((x - μ_i)/h)²)`, Gaussians on a grid, with c_i per unit.

    The centres μ_i are uniform on [-extent, extent] and h is their distance; for G = 1 the
    centre is 0 and h = extent. Coefficients of a unit: `c`, shape (G,). Not in the KArAt paper
    (arXiv 2503.10632); source: FastKAN, arXiv 2405.06721. `init: paper` draws c_i ~ N(0, 1), as the
    KArAt paper for its bases. Departures: no layer norm of the scores; `init: fan_in` draws
    N(0, 1/(M sum_i E[g_i(x)²])) with g_i the Gaussians, x ~ N(0, 1).

    Args:
        grid_size: G, the number of Gaussians, at least 1.
        extent: half the distance between the outer centres, above 0.
    """

    grid_size: int = 8
    extent: float = 3.0

    def __post_init__(self) -> None:
        at_least("grid_size", self.grid_size, 1)
        above("extent", self.extent, 0)

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"c": (self.grid_size,)}

    def flops_per_unit(self) -> int:
        """G multiply-adds: the weighted sum; the features are shared by all units."""
        return self.grid_size

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        std = 1.0 if start == "paper" else fan_in(out.shape[2], self.features)
        out.normal_(0.0, std, generator=generator)

    def terms(self, x: Any) -> list[Any]:
        return [(-distance.square()).exp() for distance in self._distances(x)]

    def term_slopes(self, x: Any, terms: Sequence[Any]) -> list[Any]:
        per_score = -2 * self._per_extent / self.extent
        return [
            per_score * distance * term
            for distance, term in zip(self._distances(x), terms, strict=True)
        ]

    @property
    def _per_extent(self) -> float:
        return (self.grid_size - 1) / 2 or 1.0

    def _distances(self, x: Any) -> list[Any]:
        """From each centre, in units of h, in which the centres are exact (halves or integers)."""
        place = x / self.extent * self._per_extent
        return [place - (number - (self.grid_size - 1) / 2) for number in range(self.grid_size)]
