"""The base activations b of a unit, by name."""

import math
from collections.abc import Callable
from typing import Any

BASE_ACTIVATIONS: dict[str, Callable[[Any], Any] | None] = {
    "zero": None,
    "identity": lambda x: x,
    "silu": lambda x: x * x.sigmoid(),
    "gelu": lambda x: x * (0.5 + 0.5 * (x * math.sqrt(0.5)).erf()),
}
"""Of tensors, or of the expressions of `karat.attention.formulas`."""
