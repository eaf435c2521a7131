"""A control: the operator with one simple function for all units, which is not learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from karat.attention.initialization import fan_in
from karat.attention.mechanisms import Place
from karat.attention.mechanisms._mixed import Mixed
from karat.attention.mechanisms._rows import without
from karat.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST = 20.0  # of an exponent: e^20 is 5e8, and sums over keys stay finite in float32
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda u: u,
    "quadratic": lambda u: u.square(),
    "exponential": lambda u: u.clamp(max=MOST).exp(),
    "sigmoid": lambda u: u.sigmoid(),
    "cosine": lambda u: u.cos(),
}


@dataclass(frozen=True, kw_only=True)
class ClosedForm(Mixed):
    """`W C f(x)`: C of shape R x N and W of N x R for each head, after one fixed function f.

    A control: the operator's mixing of positions with one simple function of scores in place of R N
    learned ones; `karat analyze STUDY --closed-form ARM` finds which one is nearest to those that an
    arm learned. `f(x) = g(slope (x - centre))` with g of `function`. Source: our control,
    docs/decisions/0027-mechanisms.md. Initially C is N(0, 1/(N E)), with E the mean of f² for scores
    drawn from N(0, 1), and W N(0, 1/(N R)), so that the weights have variance 1/N for such scores.
    Without a mask and dropout they are never formed: `(C f(x)) (Wᵀ v)`.

    Parameters: `2 * R * N * H * L`, 170,208 for ViT-Tiny.

    Args:
        function: g: `linear`, u; `quadratic`, u²; `exponential`, e^u, constant for u above 20;
            `sigmoid`, 1/(1 + e^-u); `cosine`, cos u.
        slope: factor of scores before g, not 0; for `cosine` the frequency in radians.
        centre: the score for which u is 0.
    """

    function: Literal["linear", "quadratic", "exponential", "sigmoid", "cosine"] = "cosine"
    slope: float = 1.0
    centre: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slope == 0 or not math.isfinite(self.slope):
            raise SettingError("slope", "must be a number other than 0", self.slope)
        if not math.isfinite(self.centre):
            raise SettingError("centre", "must be a number", self.centre)

    def f(self, scores: Tensor) -> Tensor:
        """The function of each score, same shape."""
        return FUNCTIONS[self.function](self.slope * (scores - self.centre))

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        if name == "back":
            std = 1.0 / math.sqrt(place.num_tokens * self.config.outputs(place.num_tokens))
        else:
            std = fan_in(place.num_tokens, self.f)
        out.normal_(0.0, std, generator=generator)

    def mixed(self, scores_BHNM: Tensor, keep: Tensor | None) -> Tensor:
        return without(self.f(scores_BHNM), keep)
