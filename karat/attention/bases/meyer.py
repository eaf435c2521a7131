"""The Meyer basis: `φ(x) = w sin(π|x~|) m(ν(|x~|))`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from karat.attention.bases._wavelet import Wavelet


@dataclass(frozen=True, kw_only=True)
class Meyer(Wavelet):
    """`φ(x) = w sin(π|x~|) m(ν(|x~|))`, `x~ = (x - tau)/s`, with w, tau, s per unit.

    `m(t) = 1` up to 1/2, `cos(π/2 ν(2t - 1))` up to 1 and 0 after it;
    `ν(x) = x⁴(35 - 84x + 70x² - 20x³)` on [0, 1], 0 below and 1 above.
    Source: arXiv 2503.10632, Table 6. Departure: the argument of ν is `|x~|` instead of the paper's
    x~, since ν is defined on [0, 1] only. Wav-KAN's code (arXiv 2405.12832) has `m(|x~|)`, which
    differs for `|x~|` between 1/2 and 1. Initialisation and further departures: see `Wavelet`.
    """

    def flops_per_unit(self) -> int:
        """26 multiply-adds and function calls: x~ 2, edges 3 + 3, ν 6 twice, sines 4, product, sum."""
        return 26

    # By 1 - ν(x) = ν(1 - x), everything is expressed in the distance to the edge |x~| = 1: the
    # cosine becomes a sine, and the value is exactly 0 at the edge and outside.

    def psi(self, t: Any) -> Any:
        inwards = _inwards(t)
        return (inwards * math.pi).sin() * (_nu(_held(inwards)) * (math.pi / 2)).sin()

    def slope(self, t: Any) -> Any:
        inwards = _inwards(t)
        wave, held = inwards * math.pi, _held(inwards)
        angle = _nu(held) * (math.pi / 2)
        by_angle = wave.sin() * angle.cos() * _nu_slope(held) * _nu_slope(inwards)
        return (by_angle + wave.cos() * angle.sin()) * t.sign() * -math.pi


def _inwards(t: Any) -> Any:
    return (1.0 - t.abs()).clamp(min=0.0)


def _held(inwards: Any) -> Any:
    """`2ν(inwards)`, 1 at most."""
    return 1.0 - (1.0 - 2.0 * _nu(inwards)).clamp(min=0.0)


def _nu(x: Any) -> Any:
    inner = ((-20.0 * x + 70.0) * x - 84.0) * x + 35.0
    return inner * x.square().square()


def _nu_slope(x: Any) -> Any:
    middle = (1.0 - x) * x
    return 140.0 * middle * middle.square()
