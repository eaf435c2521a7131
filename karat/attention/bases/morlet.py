"""The Morlet basis: `φ(x) = w cos(omega0 x~) exp(-x~²/2)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from karat.attention.bases._wavelet import Wavelet, gaussian
from karat.settings import above


@dataclass(frozen=True, kw_only=True)
class Morlet(Wavelet):
    """`φ(x) = w cos(omega0 x~) exp(-x~²/2)`, `x~ = (x - tau)/s`, with w, tau, s per unit.

    Source: arXiv 2503.10632, Table 6. Initialisation and departures: see `Wavelet`.

    Args:
        omega0: frequency of the wave under the Gaussian, above 0; 5 in the paper.
    """

    omega0: float = 5.0

    def __post_init__(self) -> None:
        above("omega0", self.omega0, 0)

    def flops_per_unit(self) -> int:
        """9 multiply-adds and function calls: x~ 2, Gaussian 3, wave 2, product, sum."""
        return 9

    def psi(self, t: Any) -> Any:
        return (t * self.omega0).cos() * gaussian(t)

    def slope(self, t: Any) -> Any:
        angle = t * self.omega0
        return (-self.omega0 * angle.sin() - t * angle.cos()) * gaussian(t)
