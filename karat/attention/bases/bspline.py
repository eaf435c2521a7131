"""The B-spline basis: `φ(x) = sum_{i<G+k} c_i B_i(x)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import Basis, LinearBasis
from karat.attention.initialization import fan_in
from karat.settings import above, at_least

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BSpline(LinearBasis):
    """`φ(x) = sum_{i<G+k} c_i B_i(x)`, B-splines of degree k on a uniform grid, with c_i per unit.

    The grid has G intervals on [-extent, extent] and k more on either side, as in KAN; outside the
    grid φ is 0. Coefficients of a unit: `c`, shape (G + k,). Source: arXiv 2503.10632, Table 6,
    and KAN, arXiv 2404.19756, Section 2.4. `init: paper` is KAN's, c_i ~ N(0, 0.1²). Departures:
    the grid is not adapted to the inputs; `init: fan_in` draws N(0, 1/(M sum_i E[B_i(x)²])),
    x ~ N(0, 1).

    `refined` is exact on [-extent, extent]. The k intervals outside are narrower in a finer grid,
    and so are the tails of φ there.

    Args:
        grid_size: G, the number of intervals, at least 1.
        degree: k, at least 0.
        extent: half the width of the grid, above 0.
    """

    grid_size: int = 5
    degree: int = 3
    extent: float = 3.0

    def __post_init__(self) -> None:
        at_least("grid_size", self.grid_size, 1)
        at_least("degree", self.degree, 0)
        above("extent", self.extent, 0)

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"c": (self.grid_size + self.degree,)}

    def flops_per_unit(self) -> int:
        """G + k multiply-adds: the weighted sum; the features are shared by all units."""
        return self.grid_size + self.degree

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        std = 0.1 if start == "paper" else fan_in(out.shape[2], self.features)
        out.normal_(0.0, std, generator=generator)

    def terms(self, x: Any) -> list[Any]:
        size, degree = self.grid_size, self.degree
        # Positions in intervals from the middle: cell numbers and positions in a cell are exact.
        place = x / (2 * self.extent) * size
        cell = (place + size / 2).floor()
        pieces = self._pieces(place - (cell - size / 2))
        # The k + 1 pieces in cell c belong to the features c ... c + k. A NaN is far from no cell.
        terms = []
        for feature in range(size + degree):
            term: Any = 0.0
            for number, piece in enumerate(pieces):
                far = (cell - (feature - number)).abs() >= 0.5
                term = piece.where(~far, 0.0) + term
            terms.append(term)
        return terms

    def _pieces(self, t: Any) -> list[Any]:
        """The degree + 1 B-splines that are not 0 at position t (0 to 1) in a cell.

        De Boor's recursion (de Boor 1972) sums terms of one sign, so there is no cancellation.
        """
        pieces = [0 * t + 1]  # depends on t, so that degree 0 has a gradient (0)
        for d in range(1, self.degree + 1):
            lower = [piece / d for piece in pieces]
            down = [(r + 1 - t) * piece for r, piece in enumerate(lower)]
            up = [(t + (d - 1 - r)) * piece for r, piece in enumerate(lower)]
            inner = [down[r] + up[r - 1] for r in range(1, d)]
            pieces = [down[0], *inner, up[-1]]
        return pieces

    def refined(self, coefficients: Mapping[str, Tensor], finer: Basis) -> dict[str, Tensor]:
        if not isinstance(finer, BSpline) or replace(finer, grid_size=self.grid_size) != self:
            return super().refined(coefficients, finer)
        if finer.grid_size % self.grid_size:
            return super().refined(coefficients, finer)
        c = coefficients["c"]
        matrix = self._two_scale(finer.grid_size // self.grid_size)
        return {"c": (c.double() @ matrix.to(c.device)).to(c.dtype)}

    def _two_scale(self, parts: int) -> Tensor:
        """Each B-spline of this grid as a sum of B-splines on a grid with `parts` times intervals.

        `N(u) = parts^-k sum_j p_j N(parts u - j)`, where p_j are the coefficients of
        `(1 + z + ... + z^(parts-1))^(k+1)`. B-splines outside [-extent, extent] are left out.
        """
        degree = self.degree
        mask = [1]
        for _ in range(degree + 1):
            wider = [0] * (len(mask) + parts - 1)
            for j, p in enumerate(mask):
                for i in range(parts):
                    wider[j + i] += p
            mask = wider
        rows, columns = self.grid_size + degree, self.grid_size * parts + degree
        matrix = torch.zeros(rows, columns, dtype=torch.float64)
        for row in range(rows):
            for j, p in enumerate(mask):
                column = row * parts + j - (parts - 1) * degree
                if 0 <= column < columns:
                    matrix[row, column] = p / parts**degree
        return matrix
