"""Sinkhorn attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Mechanism, Place
from karat.errors import CombinationError
from karat.settings import at_least

if TYPE_CHECKING:
    from torch import Tensor

MASKED = "needs every pair of tokens: with masked pairs there may be no doubly stochastic matrix"


@dataclass(frozen=True, kw_only=True)
class Sinkhorn(Mechanism):
    """A doubly stochastic matrix: rows and columns of `e^x` are divided by their sums in turn.

    Source: Sinkformers, arXiv 2110.11773. Each iteration normalises columns, then rows,
    after a first normalisation of rows, so that rows sum to 1 exactly and columns nearly.
    Computed with logarithms. Masks are refused. Speed: the scores are formed, and read twice in
    each iteration; there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.

    Args:
        iterations: number of iterations, at least 1; the papers use 3 to 5.
    """

    iterations: int = 3

    def __post_init__(self) -> None:
        at_least("iterations", self.iterations, 1)

    def refusal(self, place: Place) -> str | None:
        if place.queries != place.num_tokens:
            return f"has rows and columns that sum to 1, which {place.queries} queries and {place.num_tokens} keys cannot have"
        return MASKED if place.is_masked else super().refusal(place)

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        if keep is not None:
            raise CombinationError(("attention.mechanism",), f"sinkhorn {MASKED}")
        logs = scores_BHNM.log_softmax(-1)
        for _ in range(self.iterations):
            logs = logs.log_softmax(-2).log_softmax(-1)
        return logs.exp()
