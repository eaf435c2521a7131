"""Triton, if it is installed, and the decorator of functions that run on the device.

Without Triton the modules beside this one can be imported, and `Triton.refusal` says what is missing.
"""

from collections.abc import Callable
from typing import Any

try:
    import triton  # type: ignore[import-untyped]
    import triton.language as tl  # type: ignore[import-untyped]
    from triton.language import constexpr
except ImportError:
    triton = tl = constexpr = None

__all__ = ["INTERPRETED", "constexpr", "jit", "tl", "triton"]

INTERPRETED = triton is not None and bool(triton.knobs.runtime.interpret)
"""Whether kernels run in Triton's interpreter on the CPU (`TRITON_INTERPRET=1`)."""


def jit(function: Callable[..., Any]) -> Any:
    """`triton.jit`; None if Triton is not installed."""
    return triton.jit(function) if triton is not None else None
