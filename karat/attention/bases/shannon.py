"""The Shannon basis: `φ(x) = w sinc(x~/π) hamming`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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

    def prepared(self, coefficients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """As for every wavelet; with `window: inputs`, w is times the window."""
        ready = super().prepared(coefficients)
        if self.window == "score":
            return ready
        w = ready["w"]
        window_M = torch.hamming_window(w.shape[2], periodic=False, dtype=w.dtype, device=w.device)
        return {**ready, "w": w * window_M}

    def psi(self, t: Any) -> Any:
        if self.window == "inputs":
            return _sinc(t)
        window = 0.46 * (t / 3).cos() + 0.54
        return (_sinc(t) * window).where(~(t.abs() >= EDGE), 0.0)

    def slope(self, t: Any) -> Any:
        sinc = _sinc(t)
        slope = _sinc_slope(t, sinc)
        if self.window == "inputs":
            return slope
        third = t / 3
        window, window_slope = 0.46 * third.cos() + 0.54, (-0.46 / 3) * third.sin()
        return (slope * window + window_slope * sinc).where(~(t.abs() >= EDGE), 0.0)


def _sinc(t: Any) -> Any:
    """`sin(t)/t`; at 0 the quotient of two numbers that are equal."""
    size = _size(t)
    return size.sin() / size


def _size(t: Any) -> Any:
    return t.abs().clamp(min=1e-30)


def _sinc_slope(t: Any, sinc: Any) -> Any:
    """The derivative of `sin(t)/t`; near 0, where the quotient cancels, by its Taylor series.

    The gradient of `torch.sinc` uses no series and is 0 for float32 numbers up to about 3e-4.
    """
    near = t.abs() < 0.05
    quotient = (_size(t).cos() - sinc) / t.where(~near, 1.0)
    square = t.square()
    series = ((square * (-1 / 280) + 1 / 10) * square - 1.0) * t * (1 / 3)
    return series.where(near, quotient)
