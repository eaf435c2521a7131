"""A control: the operator's mixing of positions, on softmax weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from karat.attention.mechanisms import Given, Mechanism, Place
from karat.attention.mechanisms._rows import softmax, without
from karat.attention.mechanisms._tables import (
    TABLE_SETTINGS,
    check_table,
    for_heads,
    table_shapes,
)
from karat.attention.precision import without_autocast

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SoftmaxMixed(Mechanism):
    """`W C (N softmax(x))`: C of shape R x N and W of N x R for each head, after softmax.

    A control: the operator's mixing of positions, without its function of scores. Source: our
    control, docs/decisions/0027-mechanisms.md. The factor N belongs to C; it is written apart so
    that the numbers that C sees are of size 1, as scores are. Initially C is N(0, 1/(e N)) and W N(0, 1/(N R)): for scores drawn from N(0, 1), for which
    the squares of N softmax(x) are e on average, the weights have variance 1/N.
    Without a mask and dropout they are never formed: `(C (N softmax(x))) (Wᵀ v)`.

    Parameters: `2 * R * N * H * L`, 170,208 for ViT-Tiny.
    """

    operator_settings: ClassVar[frozenset[str]] = TABLE_SETTINGS
    any_tokens: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_table(self.config)

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return table_shapes(self.config, place, ("into", "back"))

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        by_rank = self.config.outputs(place.num_tokens) if name == "back" else math.e
        out.normal_(0.0, 1.0 / math.sqrt(place.num_tokens * by_rank), generator=generator)

    def operations_per_row(self, place: Place) -> int:
        rank, tokens, width = (
            self.config.outputs(place.num_tokens),
            place.num_tokens,
            place.head_dim,
        )
        if place.is_masked:
            return tokens * width + 2 * rank * tokens + tokens * width
        return tokens * width + rank * tokens + 2 * rank * width

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        rows_BHNR = self._narrow(scores_BHNM, keep, learned["into"])
        back = for_heads(learned["back"], scores_BHNM.shape[1])
        return without(rows_BHNR @ back.mT, keep)

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        if given.keep is not None or given.dropout:
            return super().attend(given, learned)
        with without_autocast(given.q.device):
            rows_BHNR = self._narrow(self.scores(given, learned), None, learned["into"])
            back = for_heads(learned["back"], given.v.shape[1]).to(given.v.dtype)
            return rows_BHNR.to(given.v.dtype) @ (back.mT @ given.v)

    def _narrow(self, scores_BHNM: Tensor, keep: Tensor | None, into_PRM: Tensor) -> Tensor:
        into = for_heads(into_PRM, scores_BHNM.shape[1])
        return (softmax(scores_BHNM, keep) * scores_BHNM.shape[-1]) @ into.mT
