"""The Mexican hat basis: `φ(x) = 2w/(√3 π^¼) (x~² - 1) exp(-x~²/2)`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from karat.attention.bases._wavelet import Wavelet, gaussian


@dataclass(frozen=True, kw_only=True)
class MexicanHat(Wavelet):
    """`φ(x) = 2w/(√3 π^¼) (x~² - 1) exp(-x~²/2)`, `x~ = (x - tau)/s`, with w, tau, s per unit.

    Source: arXiv 2503.10632, Table 6. Its project page has `1 - x~²`, the same up to the sign of w.
    Initialisation and departures: see `Wavelet`.
    """

    def flops_per_unit(self) -> int:
        """8 multiply-adds and function calls: x~ 2, square, Gaussian 2, - 1, product, sum."""
        return 8

    def height(self, w: Any, s: Any) -> Any:
        return w * (2 / math.sqrt(3 * math.sqrt(math.pi)))

    def psi(self, t: Any) -> Any:
        return (t.square() - 1.0) * gaussian(t)

    def slope(self, t: Any) -> Any:
        return (3.0 - t.square()) * t * gaussian(t)
