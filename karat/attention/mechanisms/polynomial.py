"""Polynomial attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from karat.attention.mechanisms import Mechanism
from karat.attention.mechanisms._rows import keys_of, without

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Polynomial(Mechanism):
    """`x^p / sqrt(N)`, N the number of keys that are not masked.

    Source: arXiv 2410.18613, which argues that softmax works by limiting the Frobenius norm of the
    weights, and that 1/sqrt(N) limits it here.

    Speed: the scores are formed; there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.

    Args:
        power: p, 1 or 3.
    """

    power: Literal[1, 3] = 3

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        raised = scores_BHNM if self.power == 1 else scores_BHNM.pow(3)
        return without(raised / keys_of(scores_BHNM, keep).sqrt(), keep)
