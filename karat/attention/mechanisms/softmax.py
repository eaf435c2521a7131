"""Softmax attention, what every other mechanism is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from karat.attention.mechanisms._rows import SoftmaxLike


@dataclass(frozen=True, kw_only=True)
class Softmax(SoftmaxLike):
    """`softmax(x)`, the attention of the host model, which is left as it is.

    Source: arXiv 1706.03762. As the only mechanism of a model it changes nothing; beside others
    (`attention.heads`) it computes the remaining heads in torch's fused kernel.

    Parameters: `0`, 0 for ViT-Tiny.
    """
