"""The initialisation `fan_in`: row sums have variance 1 for inputs drawn from N(0, 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def fan_in(inputs: int, functions: Callable[[Tensor], Tensor]) -> float:
    """The standard deviation of weights for which a sum over inputs of weighted functions has
    variance 1.

    Args:
        inputs: M, the number of inputs; the weights are independent, with mean 0.
        functions: from float64 numbers, shape (1, 1, L), to the values of each function, (..., L).
    """
    # Integrate up to 12 standard deviations: beyond, the density is below 1e-31.
    x = torch.linspace(-12.0, 12.0, 2401, dtype=torch.float64, device="cpu")
    density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
    step = 24.0 / 2400
    mean_square = step * (functions(x.reshape(1, 1, -1)).square() * density).sum().item()
    return 1.0 / math.sqrt(inputs * mean_square)
