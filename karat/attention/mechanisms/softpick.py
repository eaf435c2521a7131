"""Softpick attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from karat.attention.mechanisms import Mechanism
from karat.attention.mechanisms._rows import hidden, without

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class Softpick(Mechanism):
    """`relu(e^x - 1) / (sum abs(e^x - 1) + ε)`, with ε = 1e-6.

    Source: arXiv 2504.20966. Computed with both parts of the fraction divided by
    `e^m`, m the largest score of the row or 0, so that nothing overflows. Speed: the scores are
    formed; there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.
    """

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        largest = hidden(scores_BHNM, keep).detach().amax(-1, keepdim=True).clamp(min=0)
        shrink = torch.exp(-largest)
        above = without(torch.exp(hidden(scores_BHNM, keep) - largest) - shrink, keep)
        return above.relu() / (above.abs().sum(-1, keepdim=True) + EPSILON * shrink)
