"""The base activations b of a unit, by name."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

BASE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "zero": None,
    "identity": lambda x: x,
    "silu": F.silu,
    "gelu": F.gelu,
}
