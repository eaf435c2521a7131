"""The Fourier basis: `φ(x) = sum_{k=1..G} a_k cos kx + b_k sin kx`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from karat.attention.bases import Basis, LinearBasis
from karat.settings import at_least

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Fourier(LinearBasis):
    """`φ(x) = sum_{k=1..G} a_k cos kx + b_k sin kx`, with a_k (`cos`) and b_k (`sin`) per unit.

    Source: arXiv 2503.10632, Table 6. `init: paper` draws a_k, b_k ~ N(0, 1). Departure:
    `init: fan_in` draws N(0, 1/(M G)). With the paper's, a row sum over 197 keys at G = 3 has an
    initial standard deviation of 24.

    Args:
        grid_size: G, the number of frequencies, at least 1.
    """

    grid_size: int = 3

    def __post_init__(self) -> None:
        at_least("grid_size", self.grid_size, 1)

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"cos": (self.grid_size,), "sin": (self.grid_size,)}

    def flops_per_unit(self) -> int:
        """3 G + 1, from the table of FLOPs in arXiv 2503.10632."""
        return 3 * self.grid_size + 1

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        inputs = out.shape[2]
        std = 1.0 if start == "paper" else 1.0 / math.sqrt(inputs * self.grid_size)
        out.normal_(0.0, std, generator=generator)

    def terms(self, x: Any) -> list[Any]:
        cosines, sines = [x.cos()], [x.sin()]
        # Angle addition: one sine and cosine per score, whatever the number of frequencies. From two
        # frequencies of about k/2, so that rounding errors grow with log k and not with k.
        for k in range(2, self.grid_size + 1):
            low, high = k // 2 - 1, k - k // 2 - 1
            cosines.append(cosines[low] * cosines[high] - sines[low] * sines[high])
            sines.append(sines[low] * cosines[high] + cosines[low] * sines[high])
        return cosines + sines

    def term_slopes(self, x: Any, terms: Sequence[Any]) -> list[Any]:
        cosines, sines = terms[: self.grid_size], terms[self.grid_size :]
        return [
            *(-k * sine for k, sine in enumerate(sines, start=1)),
            *(k * cosine for k, cosine in enumerate(cosines, start=1)),
        ]

    def refined(self, coefficients: Mapping[str, Tensor], finer: Basis) -> dict[str, Tensor]:
        if isinstance(finer, Fourier) and finer.grid_size >= self.grid_size:
            more = finer.grid_size - self.grid_size
            return {
                name: torch.nn.functional.pad(value, (0, more))
                for name, value in coefficients.items()
            }
        return super().refined(coefficients, finer)
