"""The Mexican hat basis: `φ(x) = 2w/(√3 π^¼) (x~² - 1) exp(-x~²/2)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.bases._wavelet import Wavelet

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MexicanHat(Wavelet):
    """`φ(x) = 2w/(√3 π^¼) (x~² - 1) exp(-x~²/2)`, `x~ = (x - tau)/s`, with w, tau, s per unit.

    Source: arXiv 2503.10632, Table 6. Its project page has `1 - x~²`, the same up to the sign of w.
    Initialisation and departures: see `Wavelet`.
    """

    def flops_per_unit(self) -> int:
        """8 multiply-adds and function calls: x~ 2, square, Gaussian 2, - 1, product, sum."""
        return 8

    def weights(self, coefficients: Mapping[str, Tensor]) -> Tensor:
        return coefficients["w"] * (2 / math.sqrt(3 * math.sqrt(math.pi)))

    def psi(self, t: Tensor) -> Tensor:
        square = t.square()
        return (square - 1.0).mul_((-0.5 * square).exp_())

    def slope(self, t: Tensor) -> Tensor:
        square = t.square()
        return (3.0 - square).mul_(t).mul_((-0.5 * square).exp_())
