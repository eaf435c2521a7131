"""Differential attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from karat.attention.mechanisms import Change, Given, Matrices, Place, unchanged
from karat.attention.mechanisms._rows import SoftmaxLike

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
NORM_EPSILON = 1e-5  # as in the authors' code and in timm


@dataclass(frozen=True, kw_only=True)
class Differential(SoftmaxLike):
    """`norm((softmax(x1) - λ softmax(x2)) v) (1 - λ₀)`; x1 and x2 are scores of halves of a head.

    `λ = exp(λq1 · λk1) - exp(λq2 · λk2) + λ₀` with vectors of D/2 numbers shared by the heads of a
    block, `λ₀ = 0.8 - 0.6 exp(-0.3 l)` for block l from 0, and a root-mean-square norm over the
    head with D learned factors. Source: arXiv 2410.05258; started as there:
    N(0, 0.1²), factors 1. Departure: heads keep their number and width, and are halved inside (as
    `timm.layers.DiffAttention`), so that parameters stay comparable. A position bias is refused.
    Speed: torch's fused kernel, twice.

    Parameters: `(2 * D + D) * L`, 2,304 for ViT-Tiny, 768 of them in the norm; with
    `lambdas: scalars` `(2 + D) * L`, 792.

    Args:
        lambdas: `vectors`, as above; `scalars`, `λ = exp(a) - exp(b) + λ₀` with a = b = 0 at first.
    """

    lambdas: Literal["vectors", "scalars"] = "vectors"

    def refusal(self, place: Place) -> str | None:
        if place.head_dim % 2:
            return f"halves the heads, whose width {place.head_dim} is odd"
        if place.has_bias:
            return "has two matrices of scores, and the model's position bias belongs to one"
        if place.is_rotated:
            return "halves queries and keys after the model has rotated them (RoPE), so that each half would have the frequencies of one direction"
        return super().refusal(place)

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        half = place.head_dim // 2
        of_lambda: dict[str, tuple[int, ...]] = {"lambda_a": (), "lambda_b": ()}
        if self.lambdas == "vectors":
            of_lambda = dict.fromkeys(NAMES, (half,))
        return {**of_lambda, "norm": (place.head_dim,)}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        if name in NAMES:
            out.normal_(0.0, 0.1, generator=generator)
        else:
            out.fill_(1.0 if name == "norm" else 0.0)

    def operations_per_row(self, place: Place) -> int:
        """The scores of both halves, and two products with the values."""
        return 3 * place.num_tokens * place.head_dim

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        first, second = (
            super(Differential, self).attend(half, learned) for half in self._halves(given)
        )
        factor = self._factor(given, learned).to(first.dtype)
        return self._normalised(first - factor * second, given, learned)

    def look(
        self,
        given: Given,
        learned: Mapping[str, Tensor],
        change_scores: Change = unchanged,
        change_weights: Change = unchanged,
    ) -> Matrices:
        """Weights are those of both halves together; scores of the first, and both are changed alike."""
        first, second = (
            super(Differential, self).look(half, learned, change_scores)
            for half in self._halves(given)
        )
        factor = self._factor(given, learned).to(first.weights.dtype)
        weights_BHNM = change_weights(first.weights - factor * second.weights)
        mixed_BHND = weights_BHNM.to(given.v.dtype) @ given.v
        out_BHND = self._normalised(mixed_BHND, given, learned)
        return Matrices(first.scores, weights_BHNM, out_BHND)

    def _halves(self, given: Given) -> tuple[Given, ...]:
        """What the two softmaxes get, each a half of the head."""
        halves = zip(given.q.chunk(2, -1), given.k.chunk(2, -1), strict=True)
        return tuple(
            given._replace(q=q, k=k, scale=given.scale * math.sqrt(2.0)) for q, k in halves
        )

    def _factor(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        return self._lambda(learned) + _start(given.number)

    def _normalised(self, out_BHND: Tensor, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        norm = learned["norm"].to(out_BHND.dtype)
        normalised = torch.nn.functional.rms_norm(out_BHND, (norm.shape[0],), norm, NORM_EPSILON)
        return normalised * (1 - _start(given.number))

    def _lambda(self, learned: Mapping[str, Tensor]) -> Tensor:
        """λ without λ₀."""
        if self.lambdas == "scalars":
            return learned["lambda_a"].exp() - learned["lambda_b"].exp()
        q1, k1, q2, k2 = (learned[name] for name in NAMES)
        return (q1 * k1).sum().exp() - (q2 * k2).sum().exp()


def _start(number: int) -> float:
    """λ₀ of the block with this number, from 0."""
    return 0.8 - 0.6 * math.exp(-0.3 * number)
