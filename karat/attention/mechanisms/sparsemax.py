"""Sparsemax attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Mechanism
from karat.attention.mechanisms._rows import hidden, without
from karat.attention.projections import simplex

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sparsemax(Mechanism):
    """The point of the probability simplex nearest to the row of scores; most weights are 0.

    Source: arXiv 1602.02068, computed by `karat.attention.projections.simplex`. Speed:
    rows are sorted; there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.
    """

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        rows = hidden(scores_BHNM, keep).movedim(-1, 1)
        return without(simplex(rows).movedim(1, -1), keep)
