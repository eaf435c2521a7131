"""Kolmogorov-Arnold attention (KArAt), the learnable operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from karat.attention.mechanisms._operator import OperatorMechanism
from karat.attention.operator_config import OPERATOR_SETTINGS


@dataclass(frozen=True, kw_only=True)
class Karat(OperatorMechanism):
    """`W Φ(x)`: R x N learned functions of scores, summed over the keys, and mixed by W (N x R).

    Source: arXiv 2503.10632, Section 3; orders, initial values and departures are those of
    `karat.attention.operator.Operator`. Speed: the kernels of `attention.kernel`.

    Parameters: `(2 * G + 3) * R * N * H * L`, 765,936 for ViT-Tiny with `basis: fourier` and G = 3.
    """

    operator_settings: ClassVar[frozenset[str]] = OPERATOR_SETTINGS
