"""Cosine attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from karat.attention.mechanisms import Given, Place
from karat.attention.mechanisms._rows import SoftmaxLike, by_head

if TYPE_CHECKING:
    from torch import Tensor

MOST = math.log(100.0)  # Swin v2 limits 1/τ to 100


@dataclass(frozen=True, kw_only=True)
class Cosine(SoftmaxLike):
    """`softmax(cos(q, k) / τ)`, with τ learned for each head, initially 0.1 and at least 0.01.

    Source: Swin v2, arXiv 2111.09883; initial value and limit as in its code. Learned is
    log(1/τ). A bias of the host is added after the division, as there. Speed: torch's fused
    kernel, on normalised queries and keys.

    Parameters: `H * L`, 36 for ViT-Tiny.
    """

    def shapes(self, place: Place) -> Mapping[str, tuple[int, ...]]:
        return {"log_inverse_tau": (place.num_heads,)}

    def initialise(
        self, name: str, out: Tensor, place: Place, generator: torch.Generator | None
    ) -> None:
        out.fill_(math.log(10.0))

    def prepared(self, given: Given, learned: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        inverse_tau = by_head(learned["log_inverse_tau"].clamp(max=MOST).exp())
        q_BHND = torch.nn.functional.normalize(given.q.to(inverse_tau.dtype), dim=-1)
        k_BHMD = torch.nn.functional.normalize(given.k.to(inverse_tau.dtype), dim=-1)
        return q_BHND * (inverse_tau / given.scale), k_BHMD
