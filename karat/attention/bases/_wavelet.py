"""The base class of the wavelet families: `φ(x) = weight ψ(x~)` with `x~ = (x - tau) / s`.

Shapes as in `karat.attention.bases`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING

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
    Departures: s below 0.01 counts as 0.01, since the paper divides by s without a bound;
    `init: fan_in` divides w by the root of M E[φ(x)²], x ~ N(0, 1).
    """

    @abc.abstractmethod
    def psi(self, t: Tensor) -> Tensor:
        """The mother function, up to a constant factor that is in `weights`."""

    @abc.abstractmethod
    def slope(self, t: Tensor) -> Tensor:
        """The derivative of `psi`, in operations that can be differentiated again."""

    def weights(self, coefficients: Mapping[str, Tensor]) -> Tensor:
        """The factor of ψ in each unit, shape (P, R, M)."""
        return coefficients["w"]

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
            gains = self.weights({"w": ones, "tau": 0 * ones, "s": ones})
            std = fan_in(1, self.psi) / gains.norm().item()
        out.normal_(0.0, std, generator=generator)

    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        return {**coefficients, "w": coefficients["w"] * scale_PRM}

    def units(self, scores_P1ML: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        # Subtract before scaling: near tau, where a narrow unit varies most, x - tau is exact.
        shifted_PRML = scores_P1ML - coefficients["tau"].unsqueeze(-1)
        t_PRML = shifted_PRML * (1.0 / clamped(coefficients["s"])).unsqueeze(-1)
        from karat.attention.bases._psi import (
            Psi,  # its base class loads torch, which a check of settings must not do
        )

        psi_PRML: Tensor = Psi.apply(t_PRML, self)
        return self.weights(coefficients).unsqueeze(-1) * psi_PRML


def clamped(s: Tensor) -> Tensor:
    return s.clamp(min=SMALLEST_SCALE)


def gaussian(t: Tensor) -> Tensor:
    """`exp(-t²/2)`."""
    return t.square().mul_(-0.5).exp_()
