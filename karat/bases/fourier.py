"""The Fourier basis: `φ(x) = sum_{k=1..G} a_k cos kx + b_k sin kx`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from karat.bases import Basis
from karat.settings import at_least


@dataclass(frozen=True, kw_only=True)
class Fourier(Basis):
    """`sum_{k=1..G} a_k cos kx + b_k sin kx`, with a_k and b_k learned per unit.

    Source: arXiv 2503.10632, Table 6. Start `paper`: a_k, b_k ~ N(0, 1). Departure: start
    `fan_in` draws N(0, 1/(M G)); with the paper's, a row sum over 197 keys at G = 3 starts
    with a standard deviation of 24.

    Args:
        grid_size: G, the number of frequencies, at least 1.
    """

    grid_size: int = 3

    def __post_init__(self) -> None:
        at_least("grid_size", self.grid_size, 1)

    def coefficient_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"cos": (self.grid_size,), "sin": (self.grid_size,)}

    def flops_per_unit(self) -> int:
        return 3 * self.grid_size + 1

    def initialise(
        self, name: str, out: Tensor, start: str, generator: torch.Generator | None
    ) -> None:
        keys = out.shape[2]
        std = 1.0 if start == "paper" else 1.0 / math.sqrt(keys * self.grid_size)
        out.normal_(0.0, std, generator=generator)

    def scaled(self, coefficients: Mapping[str, Tensor], scale_PRM: Tensor) -> dict[str, Tensor]:
        return {name: value * scale_PRM.unsqueeze(-1) for name, value in coefficients.items()}

    def row_sum(self, scores_PML: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        cosines, sines = [scores_PML.cos()], [scores_PML.sin()]
        for _ in range(self.grid_size - 1):  # angle addition: no further transcendental calls
            c, s = cosines[-1], sines[-1]
            cosines.append(c * cosines[0] - s * sines[0])
            sines.append(s * cosines[0] + c * sines[0])
        features_PFL = torch.cat(cosines + sines, dim=1)
        weights_PRMG = torch.cat([coefficients["cos"], coefficients["sin"]], dim=-1)
        return weights_PRMG.transpose(2, 3).flatten(2) @ features_PFL
