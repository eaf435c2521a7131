"""A control: every token gets the same weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from karat.attention.mechanisms import Given, Mechanism, Place
from karat.attention.mechanisms._rows import keys_of, without

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Uniform(Mechanism):
    """`1/N` for every pair: the mean of the values, without scores.

    A control: what it reaches needs no attention at all. Scores are never computed. Source: our
    control, docs/decisions/0027-mechanisms.md.

    Parameters: `0`, 0 for ViT-Tiny.
    """

    uses_scores: ClassVar[bool] = False

    def operations_per_row(self, place: Place) -> int:
        """None: a mean has no products."""
        return 0

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        return without(torch.ones_like(scores_BHNM) / keys_of(scores_BHNM, keep), keep)

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        if given.keep is not None or given.dropout:
            return super().attend(given, learned)
        return given.v.mean(2, keepdim=True).expand(*given.q.shape[:3], -1)
