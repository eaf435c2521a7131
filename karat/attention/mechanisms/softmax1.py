"""Softmax that may attend to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from karat.attention.mechanisms import Given, Place
from karat.attention.mechanisms._rows import SoftmaxLike, softmax

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Softmax1(SoftmaxLike):
    """`e^x / (1 + sum e^x)`: softmax with one more key of score 0 and value 0.

    Source: E. Miller, "Attention is off by one" (2023); why heads want to attend to nothing: arXiv 2306.12929. Speed: with
    that key it runs in torch's fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.
    """

    def operations_per_row(self, place: Place) -> int:
        """With the additional key."""
        return 2 * (place.num_tokens + 1) * place.head_dim

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        if keep is not None:
            keep = torch.nn.functional.pad(keep.expand(scores_BHNM.shape), (0, 1), value=True)
        return softmax(torch.nn.functional.pad(scores_BHNM, (0, 1)), keep)[..., :-1]

    def attend(self, given: Given, learned: Mapping[str, Tensor]) -> Tensor:
        if given.bias is None and given.keep is None:
            pad = torch.nn.functional.pad
            given = given._replace(k=pad(given.k, (0, 0, 0, 1)), v=pad(given.v, (0, 0, 0, 1)))
        return super().attend(given, learned)
