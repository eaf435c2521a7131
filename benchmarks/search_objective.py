"""One objective for three engines: replaces training by work of a known duration and result.

An epoch takes 0.2 s and multiplies matrices on one thread, so that engines and trials compete for
the cores as they do in training. The value approaches a plateau that depends on the learning rate
and the arm.
"""

import math
import time
from dataclasses import dataclass

EPOCHS, EPOCH_S = 5, 0.2
LOW, HIGH, BEST = 1e-3, 1e-2, 4e-3
PLATEAUS = {"softmax": 0.90, "fourier": 0.95}


def value_of(basis: str, learning_rate: float, epoch: int) -> float:
    """The value after `epoch` epochs; the highest final value is `best_possible`."""
    distance = math.log(learning_rate / BEST) / math.log(HIGH / LOW)
    return (PLATEAUS[basis] - 0.2 * distance**2) * (1 - math.exp(-epoch))


def best_possible() -> float:
    """The final value that a perfect search finds."""
    return value_of("fourier", BEST, EPOCHS)


def work(seconds: float = EPOCH_S) -> float:
    """Multiply matrices for this time, and return the seconds that it took."""
    import torch

    started = time.perf_counter()
    a = torch.ones(64, 64)
    while time.perf_counter() - started < seconds:
        a @ a
    return time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a trial: seconds since the search began, its value, seconds of training."""

    at_s: float
    value: float
    trained_s: float


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of one engine.

    Args:
        name: of the engine.
        ended: trials that returned a value, in order.
        failed: the number of trials that returned none.
        start_s: seconds before the first trial could be started.
        wall_s: seconds from then to the end of the last trial.
        slots: trials at a time.
    """

    name: str
    ended: tuple[Ended, ...]
    failed: int
    start_s: float
    wall_s: float
    slots: int

    @property
    def overhead_s_per_trial(self) -> float:
        """Slot time per trial in which nothing was trained."""
        trained = sum(each.trained_s for each in self.ended)
        return (self.wall_s * self.slots - trained) / (len(self.ended) + self.failed)

    @property
    def steady_s_per_trial(self) -> float | None:
        """The same without the first trial of each slot, which waits for a process, or None."""
        first, rest = self.ended[: self.slots], self.ended[self.slots :]
        if not rest:
            return None
        slot_s = self.wall_s * self.slots - sum(each.at_s for each in first)
        return (slot_s - sum(each.trained_s for each in rest)) / len(rest)

    def best_at(self, seconds: float) -> float | None:
        """The best value of the trials that had ended after this time; None if none had."""
        return max((each.value for each in self.ended if each.at_s <= seconds), default=None)
