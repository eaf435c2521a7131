"""A control: the operator's mixing of positions, on softmax weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Place
from karat.attention.mechanisms._mixed import Mixed
from karat.attention.mechanisms._rows import softmax

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SoftmaxMixed(Mixed):
    """`W C (N softmax(x))`: C of shape R x N and W of N x R for each head, after softmax.

    A control: the operator's mixing of positions, without its function of scores. Source: our
    control, docs/decisions/0027-mechanisms.md. The factor N belongs to C; it is written apart so
    that the numbers that C sees are of size 1, as scores are. Initially C is N(0, 1/(e N)) and W N(0, 1/(N R)): for scores drawn from N(0, 1), for which
    the squares of N softmax(x) are e on average, the weights have variance 1/N.
    Without a mask and dropout they are never formed: `(C (N softmax(x))) (Wᵀ v)`.

    Parameters: `2 * R * N * H * L`, 170,208 for ViT-Tiny.
    """

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        by_rank = self.config.outputs(place.num_tokens) if name == "back" else math.e
        out.normal_(0.0, 1.0 / math.sqrt(place.num_tokens * by_rank), generator=generator)

    def mixed(self, scores_BHNM: Tensor, keep: Tensor | None) -> Tensor:
        return softmax(scores_BHNM, keep) * scores_BHNM.shape[-1]
