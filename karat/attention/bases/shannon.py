"""The Shannon basis: `φ(x) = w sinc(x~/π) hamming`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from karat.attention.bases._wavelet import Wavelet

if TYPE_CHECKING:
    from torch import Tensor


EDGE = 3 * math.pi


@dataclass(frozen=True, kw_only=True)
class Shannon(Wavelet):
    """`φ(x) = w sin(x~)/x~ hamming`, `x~ = (x - tau)/s`, with w, tau, s per unit.

    Source: arXiv 2503.10632, Table 6, which has a "symmetric Hamming window" but states neither its
    argument nor its width. Departure: two windows to choose from. Initialisation and further
    departures: see `Wavelet`.

    Args:
        window: `score`, `0.54 + 0.46 cos(π x~/T)` for `|x~| <= T` and 0 outside, with T = 3π, a
            zero of the sine, so that φ is continuous; `inputs`, a window over the positions of the
            M inputs in a row, not over scores, as in Wav-KAN's code (arXiv 2405.12832).
    """

    window: Literal["score", "inputs"] = "score"

    def flops_per_unit(self) -> int:
        """5 multiply-adds and function calls: x~ 2, sine, quotient, sum; 5 more for `score`."""
        return 5 if self.window == "inputs" else 10

    def weights(self, coefficients: Mapping[str, Tensor]) -> Tensor:
        w = coefficients["w"]
        if self.window == "score":
            return w
        window_M = torch.hamming_window(w.shape[2], periodic=False, dtype=w.dtype, device=w.device)
        return w * window_M

    def psi(self, t: Tensor) -> Tensor:
        if self.window == "inputs":
            return _sinc(t)
        window = (t / 3).cos_().mul_(0.46).add_(0.54)
        return torch.where(t.abs() < EDGE, _sinc(t).mul_(window), 0.0)

    def slope(self, t: Tensor) -> Tensor:
        sinc = _sinc(t)
        slope = _sinc_slope(t, sinc)
        if self.window == "inputs":
            return slope
        third = t / 3
        window, window_slope = third.cos().mul_(0.46).add_(0.54), third.sin().mul_(-0.46 / 3)
        product = slope.mul_(window).add_(window_slope.mul_(sinc))
        return torch.where(t.abs() < EDGE, product, 0.0)


def _sinc(t: Tensor) -> Tensor:
    """`sin(t)/t`."""
    size = t.abs().clamp_(min=torch.finfo(t.dtype).tiny)
    return size.sin().div_(size)


def _sinc_slope(t: Tensor, sinc: Tensor) -> Tensor:
    """The derivative of `sin(t)/t`; near 0, where the quotient cancels, by its Taylor series.

    The gradient of `torch.sinc` uses no series and is 0 for float32 numbers up to about 3e-4.
    """
    near = t.abs() < 0.05
    quotient = t.cos().sub_(sinc).div_(torch.where(near, 1.0, t))
    square = t.square()
    series = square.mul(-1 / 280).add_(1 / 10).mul_(square).sub_(1.0).mul_(t).mul_(1 / 3)
    return torch.where(near, series, quotient)
