"""The Meyer basis: `φ(x) = w sin(π|x~|) m(ν(|x~|))`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.bases._wavelet import Wavelet

if TYPE_CHECKING:
    from torch import Tensor


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

    def psi(self, t: Tensor) -> Tensor:
        inwards = _inwards(t)
        angle = _nu(_held(inwards)).mul_(math.pi / 2)
        return (inwards * math.pi).sin_().mul_(angle.sin_())

    def slope(self, t: Tensor) -> Tensor:
        inwards = _inwards(t)
        wave, held = inwards * math.pi, _held(inwards)
        angle = _nu(held).mul_(math.pi / 2)
        by_angle = wave.sin().mul_(angle.cos()).mul_(_nu_slope(held)).mul_(_nu_slope(inwards))
        by_wave = wave.cos().mul_(angle.sin())
        return by_angle.add_(by_wave).mul_(t.sgn()).mul_(-math.pi)


def _inwards(t: Tensor) -> Tensor:
    return t.abs().neg_().add_(1.0).relu_()


def _held(inwards: Tensor) -> Tensor:
    """`2ν(inwards)`, 1 at most."""
    return _nu(inwards).mul_(-2.0).add_(1.0).relu_().neg().add_(1.0)


def _nu(x: Tensor) -> Tensor:
    inner = x.mul(-20.0).add_(70.0).mul_(x).sub_(84.0).mul_(x).add_(35.0)
    return inner.mul_(x.square().square_())


def _nu_slope(x: Tensor) -> Tensor:
    middle = (1.0 - x) * x
    return middle.square().mul_(middle).mul_(140.0)
