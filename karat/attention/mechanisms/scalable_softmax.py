"""Scalable softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Given, Place
from karat.attention.mechanisms._rows import SoftmaxLike, by_head

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScalableSoftmax(SoftmaxLike):
    """`softmax(s log(N) x)`, with s learned for each head and N the number of keys.

    Source: arXiv 2501.19399. Departure: s starts at 1/log(N), as softmax. Masked keys
    count in N. A bias of the host is added after the product. Speed: torch's fused kernel, on
    queries times s log(N).

    Parameters: `H * L`, 36 for ViT-Tiny.
    """

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return {"slope": (place.num_heads,)}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        out.fill_(1.0 / math.log(max(place.num_tokens, 2)))

    def prepared(self, given: Given, learned: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        factor = by_head(learned["slope"]) * math.log(max(given.k.shape[2], 2))
        return given.q * factor, given.k
