"""How fast this machine is, in a few hundredths of a second and without torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

import numpy as np
from threadpoolctl import threadpool_limits

_TIMES = 20
_CALLS, _NUMBERS = 40, 8192


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The speed of one CPU core.

    Args:
        multiply_adds_per_s: in products of two 256 x 256 matrices.
        rounds_per_s: rounds of small operations of numpy, which stand for everything in a training step
            that is no large product: Python, calls, passes over memory.
    """

    multiply_adds_per_s: float
    rounds_per_s: float

    @classmethod
    def mean(cls, speeds: Sequence["Speed"]) -> "Speed":
        """The geometric mean of several, measured while a table was: other programs slow the yardsticks, too."""
        return cls(
            multiply_adds_per_s=geometric_mean(each.multiply_adds_per_s for each in speeds),
            rounds_per_s=geometric_mean(each.rounds_per_s for each in speeds),
        )


def measured_speed() -> Speed:
    """Measure one thread: the medians of 20."""
    with threadpool_limits(1):
        return Speed(
            multiply_adds_per_s=multiply_adds_per_s(), rounds_per_s=1 / _median_s(_small_operations)
        )


def multiply_adds_per_s() -> float:
    """Measure one thread on products of two 256 x 256 matrices; the median of 20."""
    a = np.ones((256, 256), np.float32)
    with threadpool_limits(1):
        return 256**3 / _median_s(lambda: a @ a)


def _small_operations() -> None:
    few, many = np.ones(64, np.float32), np.ones(_NUMBERS, np.float32)
    for _ in range(_CALLS):
        few = few * np.float32(1.0) + np.float32(0.0)
    np.exp(many * np.float32(0.5)).sum()


def _median_s(call: Callable[[], object]) -> float:
    # Time of this thread: other programs that take its core for a moment do not count.
    times = []
    for _ in range(_TIMES):
        started = time.thread_time()
        call()
        times.append(time.thread_time() - started)
    return max(1e-9, sorted(times)[len(times) // 2])
