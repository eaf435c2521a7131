"""The base class of the wavelet families: `φ(x) = weight ψ(x~)` with `x~ = (x - tau) / s`.

Shapes as in `karat.attention.bases`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import UnitBasis
from karat.attention.initialization import fan_in

if TYPE_CHECKING:
    from torch import Tensor


SMALLEST_SCALE = 0.01


class Wavelet(UnitBasis):
    """A family of shifted and scaled copies of one mother function ψ.

    Coefficients of a unit, each of shape (): height `w`, position `tau` and width `s`. Initially
    (`init: paper`) w ~ N(0, 1), tau = 0, s = 1; tau and s are learned (arXiv 2503.10632, Table 6).
    Departures: s below 0.01 counts as 0.01, since the paper divides by s without a bound, and can
    only grow there; `init: fan_in` divides w by the root of M E[φ(x)²], x ~ N(0, 1).
    """

    @abc.abstractmethod
    def psi(self, t: Any) -> Any:
        """The mother function of a tensor or an expression, up to a constant that is in `height`."""

    @abc.abstractmethod
    def slope(self, t: Any) -> Any:
        """The derivative of `psi`, in operations that can be differentiated again."""

    def height(self, w: Any, s: Any) -> Any:
        """The factor of ψ in a unit."""
        return w

    def prepared(self, coefficients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The coefficients with s at least 0.01."""
        from karat.attention.bases._psi import AtLeast  # loads torch, as below

        return {**coefficients, "s": AtLeast.apply(coefficients["s"], SMALLEST_SCALE)}

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"w": (), "tau": (), "s": ()}

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        if name != "w":
            out.fill_(1.0 if name == "s" else 0.0)
            return
        std = 1.0
        if start != "paper":
            ones = torch.ones(1, 1, out.shape[2], dtype=torch.float64, device="cpu")
            ready = self.prepared({"w": ones, "tau": 0 * ones, "s": ones})
            gains = self.height(ready["w"], ready["s"])
            std = fan_in(1, self.psi) / gains.norm().item()
        out.normal_(0.0, std, generator=generator)

    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        return {**coefficients, "w": coefficients["w"] * scale_PRM}

    def unit(self, x: Any, c: Mapping[str, Any]) -> Any:
        # Subtract before scaling: near tau, where a narrow unit varies most, x - tau is exact.
        t = (x - c["tau"]) * (1.0 / c["s"])
        return self.height(c["w"], c["s"]) * self._wave(t)

    def _wave(self, t: Any) -> Any:
        """ψ(t), whose derivative is the stated one."""
        if hasattr(t, "given"):  # an expression; to ask for `torch.Tensor` would load torch
            return self.psi(t).given(t, self.slope(t))
        from karat.attention.bases._psi import (
            Psi,  # its base class loads torch, which a check of settings must not do
        )

        return Psi.apply(t, self)


def gaussian(t: Any) -> Any:
    """`exp(-t²/2)`."""
    return (-0.5 * t.square()).exp()
