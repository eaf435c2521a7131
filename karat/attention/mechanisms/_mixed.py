"""The operator's mixing of positions on rows that a mechanism makes of the scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from karat.attention.mechanisms import Given, Mechanism, Place
from karat.attention.mechanisms._rows import without
from karat.attention.mechanisms._tables import (
    TABLE_SETTINGS,
    check_table,
    for_heads,
    table_shapes,
)
from karat.attention.precision import without_autocast

if TYPE_CHECKING:
    from torch import Tensor


class Mixed(Mechanism):
    """`W C y(x)`: C (`into`) of shape R x N and W (`back`) of N x R for each head, after rows y of the scores.

    Without a mask and dropout the weights are never formed: `(C y(x)) (Wᵀ v)`.
    """

    operator_settings: ClassVar[frozenset[str]] = TABLE_SETTINGS
    any_tokens: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_table(self.config)

    def mixed(self, scores_BHNM: Tensor, keep: Tensor | None) -> Tensor:
        """y, same shape as the scores; 0 for masked pairs."""
        raise NotImplementedError(type(self).__name__)

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return table_shapes(self.config, place, ("into", "back"))

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
        return self.mixed(scores_BHNM, keep) @ for_heads(into_PRM, scores_BHNM.shape[1]).mT
