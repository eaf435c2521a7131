"""The derivative-of-Gaussian basis: `φ(x) = -w d/dx exp(-x~²/2) = w x~/s exp(-x~²/2)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from karat.attention.bases._wavelet import Wavelet, gaussian


@dataclass(frozen=True, kw_only=True)
class DerivativeOfGaussian(Wavelet):
    """`φ(x) = -w d/dx exp(-x~²/2)`, `x~ = (x - tau)/s`, with w, tau, s per unit.

    The derivative is with respect to x, as in the paper, so `φ(x) = w x~/s exp(-x~²/2)`; Wav-KAN's
    code (arXiv 2405.12832) has `-w x~ exp(-x~²/2)`. Source: arXiv 2503.10632, Table 6.
    Initialisation and departures: see `Wavelet`.
    """

    def flops_per_unit(self) -> int:
        """7 multiply-adds and function calls: x~ 2, Gaussian 3, product, sum."""
        return 7

    def height(self, w: Any, s: Any) -> Any:
        return w / s

    def psi(self, t: Any) -> Any:
        return t * gaussian(t)

    def slope(self, t: Any) -> Any:
        return (1.0 - t.square()) * gaussian(t)
