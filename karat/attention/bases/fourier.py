"""The Fourier basis: `φ(x) = sum_{k=1..G} a_k cos kx + b_k sin kx`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    def features(self, scores_PML: Tensor) -> Tensor:
        cosines, sines = [scores_PML.cos()], [scores_PML.sin()]
        # Angle addition: one sine and cosine per score, whatever the number of frequencies.
        for _ in range(self.grid_size - 1):
            c, s = cosines[-1], sines[-1]
            cosines.append(c * cosines[0] - s * sines[0])
            sines.append(s * cosines[0] + c * sines[0])
        return torch.stack(cosines + sines, dim=1)

    def write_features(self, scores_PML: Tensor, out_PFML: Tensor) -> None:
        cosines, sines = (half.unbind(1) for half in out_PFML.chunk(2, 1))
        torch.cos(scores_PML, out=cosines[0])
        torch.sin(scores_PML, out=sines[0])
        minus_one = scores_PML.new_tensor(-1.0)
        # From two frequencies of about k/2, so that rounding errors grow with log k and not with k.
        for k in range(2, self.grid_size + 1):
            low, high = k // 2 - 1, k - k // 2 - 1
            if low == high:
                torch.addcmul(0 * minus_one, sines[low], cosines[low], value=2, out=sines[k - 1])
                torch.addcmul(minus_one, cosines[low], cosines[low], value=2, out=cosines[k - 1])
            else:
                torch.mul(sines[low], cosines[high], out=sines[k - 1])
                sines[k - 1].addcmul_(cosines[low], sines[high])
                torch.mul(cosines[low], cosines[high], out=cosines[k - 1])
                cosines[k - 1].addcmul_(sines[low], sines[high], value=-1)

    def slope_weights(self, weights_PRFM: Tensor) -> Tensor:
        a, b = weights_PRFM.chunk(2, 2)
        k = torch.arange(1, self.grid_size + 1, device=a.device, dtype=a.dtype).view(-1, 1)
        return torch.cat([k * b, -k * a], 2)

    def refined(self, coefficients: Mapping[str, Tensor], finer: Basis) -> dict[str, Tensor]:
        if isinstance(finer, Fourier) and finer.grid_size >= self.grid_size:
            more = finer.grid_size - self.grid_size
            return {
                name: torch.nn.functional.pad(value, (0, more))
                for name, value in coefficients.items()
            }
        return super().refined(coefficients, finer)
