"""Softmax attention with a gate on its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from karat.attention.mechanisms import Place
from karat.attention.mechanisms._rows import SoftmaxLike

if TYPE_CHECKING:
    from torch import Tensor

START_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class Gated(SoftmaxLike):
    """`softmax(x) v · σ(X Wg + b)`, where X are the tokens that enter the attention module.

    Source: arXiv 2505.06708, the gate on the attention output. Initially Wg is N(0, 0.02²) and b 0, so
    that gates start near 1/2. Speed: torch's fused kernel, then one more matrix product.

    Parameters: `(C + 1) * C * L`, 444,672 for ViT-Tiny; with `gate: per_head` `(C + 1) * H * L`, 6,948.

    Args:
        gate: `elementwise`, a gate for each number of the output; `per_head`, one for each head.
    """

    gate: Literal["elementwise", "per_head"] = "elementwise"

    def refusal(self, place: Place) -> str | None:
        if place.pools_queries:
            return "gates each query by the token that it comes from, and this model pools queries of several tokens"
        return super().refusal(place)

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        gates = self._gates(place)
        return {"gate_weight": (gates, place.width), "gate_bias": (gates,)}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        if name == "gate_bias":
            out.zero_()
        else:
            out.normal_(0.0, START_STD, generator=generator)

    def operations_per_row(self, place: Place) -> int:
        gates_of_head = self._gates(place) // place.num_heads
        return super().operations_per_row(place) + gates_of_head * place.width

    def finish(self, out_BHND: Tensor, x_BNC: Tensor, learned: Mapping[str, Tensor]) -> Tensor:
        gates = torch.nn.functional.linear(
            x_BNC, learned["gate_weight"], learned["gate_bias"]
        ).sigmoid()
        heads = out_BHND.shape[1]
        by_head = gates.view(*gates.shape[:2], heads, gates.shape[2] // heads)
        return out_BHND * by_head.transpose(1, 2)

    def _gates(self, place: Place) -> int:
        return place.num_heads * (place.head_dim if self.gate == "elementwise" else 1)
