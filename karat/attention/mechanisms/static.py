"""A control: learned weights of pairs of positions, without scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from karat.attention.mechanisms import Given, Mechanism, Place
from karat.attention.mechanisms._rows import without
from karat.attention.mechanisms._tables import TABLE_SETTINGS, check_table, table_shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Static(Mechanism):
    """`A B`, the same for every image: A of shape N x R and B of R x N for each head, no scores.

    A control of what the operator reaches by mixing positions alone. Source: the factorised random
    synthesizer, arXiv 2005.00743; departure: no softmax over the rows, as in the
    operator. Initially A and B are N(0, 1/sqrt(N R)), so that weights have variance 1/N.
    Without a mask and dropout the weights are never formed: `A (B v)`.

    Parameters: `2 * R * N * H * L`, 170,208 for ViT-Tiny.
    """

    operator_settings: ClassVar[frozenset[str]] = TABLE_SETTINGS
    any_tokens: ClassVar[bool] = False
    uses_scores: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_table(self.config)

    def refusal(self, place: Place) -> str | None:
        if place.queries != place.num_tokens:
            return f"is a table of N x N positions, and this model has {place.queries} queries for {place.num_tokens} keys"
        return super().refusal(place)

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return table_shapes(self.config, place, ("back", "into"))

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        out.normal_(0.0, (out.shape[1] * out.shape[2]) ** -0.25, generator=generator)

    def operations_per_row(self, place: Place) -> int:
        rank = self.config.outputs(place.num_tokens)
        if place.is_masked:
            return (rank + place.head_dim) * place.num_tokens
        return 2 * rank * place.head_dim

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        table_PNM = learned["back"] @ learned["into"]
        sharing = scores_BHNM.shape[1] // table_PNM.shape[0]
        return without(table_PNM.repeat_interleave(sharing, 0).expand_as(scores_BHNM), keep)

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        if given.keep is not None or given.dropout:
            return super().attend(given, learned)
        dtype, sharing = given.v.dtype, given.v.shape[1] // learned["into"].shape[0]
        into, back = (
            learned[name].to(dtype).repeat_interleave(sharing, 0) for name in ("into", "back")
        )
        return back @ (into @ given.v)
