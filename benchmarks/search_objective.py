"""One objective for three engines: a stand-in for training, of a known length and response.

An epoch takes 0.2 s, in which it multiplies matrices on one thread, as training would: engines and
trials share the processors. The value nears a plateau that the learning rate and the arm decide.
"""

import math
import time
from dataclasses import dataclass

EPOCHS, EPOCH_S = 5, 0.2
LOW, HIGH, BEST = 1e-3, 1e-2, 4e-3
PLATEAUS = {"softmax": 0.90, "fourier": 0.95}


def value_of(basis: str, learning_rate: float, epoch: int) -> float:
    """After `epoch` epochs; the highest in the end is `best_possible`."""
    distance = math.log(learning_rate / BEST) / math.log(HIGH / LOW)
    return (PLATEAUS[basis] - 0.2 * distance**2) * (1 - math.exp(-epoch))


def best_possible() -> float:
    """What a perfect search finds."""
    return value_of("fourier", BEST, EPOCHS)


def work(seconds: float = EPOCH_S) -> float:
    """Multiply matrices for so long, and return how long it was."""
    import torch

    started = time.perf_counter()
    a = torch.ones(64, 64)
    while time.perf_counter() - started < seconds:
        a @ a
    return time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A trial's end: seconds since the search began, its value, seconds in which it trained."""

    at_s: float
    value: float
    trained_s: float


@dataclass(frozen=True, kw_only=True)
class Search:
    """What one engine did.

    Args:
        name: of the engine.
        ended: trials that gave a value, in order.
        failed: trials that gave none.
        start_s: before its first trial could be asked for.
        wall_s: from there to the last trial's end.
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
        """Slot time in which nothing was trained, for each trial."""
        trained = sum(each.trained_s for each in self.ended)
        return (self.wall_s * self.slots - trained) / (len(self.ended) + self.failed)

    @property
    def steady_s_per_trial(self) -> float | None:
        """The same after the first trial of each slot, which waits for its process; None without."""
        first, rest = self.ended[: self.slots], self.ended[self.slots :]
        if not rest:
            return None
        slot_s = self.wall_s * self.slots - sum(each.at_s for each in first)
        return (slot_s - sum(each.trained_s for each in rest)) / len(rest)

    def best_at(self, seconds: float) -> float | None:
        """The best value of the trials that had ended by then."""
        return max((each.value for each in self.ended if each.at_s <= seconds), default=None)
