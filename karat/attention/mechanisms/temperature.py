"""Softmax with a learned temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Given, Place
from karat.attention.mechanisms._rows import SoftmaxLike, by_head

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Temperature(SoftmaxLike):
    """`softmax(τ x)`, with τ learned for each head, initially 1.

    A control for `scalable_softmax` and `cosine`: their factor of the scores alone. Source: the
    learned temperature of locality self-attention, arXiv 2112.13492, by head as in its code;
    departure: without its mask of the diagonal. A bias of the host is added after the product with
    τ. Speed: torch's fused kernel, on queries times τ.

    Parameters: `H * L`, 36 for ViT-Tiny.
    """

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return {"temperature": (place.num_heads,)}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        out.fill_(1.0)

    def prepared(self, given: Given, learned: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return given.q * by_head(learned["temperature"]), given.k
