"""Talking-heads attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from karat.attention.mechanisms import Mechanism, Place
from karat.attention.mechanisms._rows import softmax

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TalkingHeads(Mechanism):
    """Heads are mixed by learned H x H matrices before softmax (scores) and after it (weights).

    Source: arXiv 2003.02436. Departure: both matrices start as the identity, so that
    the start is softmax attention. Speed: the scores are formed; there is no fused kernel.

    Parameters: `2 * H * H * L`, 216 for ViT-Tiny.
    """

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        heads = place.num_heads
        return {"before": (heads, heads), "after": (heads, heads)}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        torch.nn.init.eye_(out)

    def operations_per_row(self, place: Place) -> int:
        return super().operations_per_row(place) + 2 * place.num_heads * place.num_tokens

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        weights_BHNM = softmax(_mixed(learned["before"], scores_BHNM), keep)
        return _mixed(learned["after"], weights_BHNM)


def _mixed(matrix_GH: Tensor, maps_BHNM: Tensor) -> Tensor:
    return torch.einsum("gh,bhnm->bgnm", matrix_GH, maps_BHNM)
