"""1.5-entmax attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from karat.attention.mechanisms import Mechanism
from karat.attention.mechanisms._rows import hidden, without

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Entmax15(Mechanism):
    """`relu(x/2 - τ)²` with the τ for which the weights sum to 1: between softmax and sparsemax.

    Source: arXiv 1905.05702, the exact algorithm, by sorting. Speed: rows are sorted;
    there is no fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.
    """

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        return without(entmax15(hidden(scores_BHNM, keep)), keep)


def entmax15(scores: Tensor) -> Tensor:
    """1.5-entmax along the last dimension.

    The support is found without gradients; on it τ is `mean - sqrt((1 - S) / k)`, with the mean
    and the sum S of squared deviations of its k halved scores, which autograd differentiates.
    """
    # Halved scores more than 1 below the largest are never in the support; clamped ones keep the
    # sums small and exact.
    halved = (scores - scores.detach().amax(-1, keepdim=True)) / 2
    with torch.no_grad():
        descending = halved.clamp(min=-1.5).sort(-1, descending=True).values
        count = torch.arange(1, halved.shape[-1] + 1, device=halved.device, dtype=halved.dtype)
        mean = descending.cumsum(-1) / count
        spread = descending.square().cumsum(-1) - count * mean.square()
        threshold = mean - ((1 - spread) / count).clamp(min=0).sqrt()
        size = (descending >= threshold).sum(-1, keepdim=True).clamp(min=1)
        support = halved >= threshold.gather(-1, size - 1)
    inside = torch.where(support, halved, 0)
    count = support.sum(-1, keepdim=True).to(halved.dtype)
    mean = inside.sum(-1, keepdim=True) / count
    spread = torch.where(support, halved - mean, 0).square().sum(-1, keepdim=True)
    threshold = mean - ((1 - spread) / count).sqrt()
    return torch.where(support, halved - threshold, 0).square()
