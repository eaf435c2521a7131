"""Squared ReLU attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karat.attention.mechanisms import Mechanism
from karat.attention.mechanisms._rows import keys_of, without

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SquaredRelu(Mechanism):
    """`relu(x)² / N`, N the number of keys that are not masked. Source: arXiv 2309.08586.

    Speed: the scores are formed; there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.
    """

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        return without(scores_BHNM.relu().square() / keys_of(scores_BHNM, keep), keep)
