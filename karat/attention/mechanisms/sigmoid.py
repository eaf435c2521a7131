"""Sigmoid attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Mechanism, Place
from karat.attention.mechanisms._rows import by_head, keys_of, without

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Mechanism):
    """`σ(x - log N + b)`, N the number of keys that are not masked, and b a bias by head.

    Source: arXiv 2409.04431. The learned bias starts at 0. Speed: the scores are formed; there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny; with `learned_bias: true` `H * L`, 36.

    Args:
        learned_bias: whether b is learned; without it b is 0.
    """

    learned_bias: bool = False

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return {"bias": (place.num_heads,)} if self.learned_bias else {}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        out.zero_()

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        shifted = scores_BHNM - keys_of(scores_BHNM, keep).log()
        if self.learned_bias:
            shifted = shifted + by_head(learned["bias"])
        return without(shifted.sigmoid(), keep)
