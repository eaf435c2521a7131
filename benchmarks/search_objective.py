"""One objective for all engines: replaces training by work of a known duration and result.

An epoch multiplies matrices on one thread, so that engines and trials compete for the cores as they
do in training; or it sleeps, so that there can be more slots than cores. The value approaches a
plateau that depends on the learning rate and the arm.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

EPOCHS = 5
LOW, HIGH, BEST = 1e-3, 1e-2, 4e-3
PLATEAUS = {"softmax": 0.90, "fourier": 0.95}


def value_of(basis: str, learning_rate: float, epoch: int) -> float:
    """The value after `epoch` epochs; the highest final value is `best_possible`."""
    distance = math.log(learning_rate / BEST) / math.log(HIGH / LOW)
    return (PLATEAUS[basis] - 0.2 * distance**2) * (1 - math.exp(-epoch))


def best_possible() -> float:
    """The final value that a perfect search finds."""
    return value_of("fourier", BEST, EPOCHS)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a trial does between two of its reports.

    Args:
        seconds: how long.
        sleeps: whether it sleeps, or multiplies matrices.
    """

    seconds: float
    sleeps: bool = False

    def __call__(self) -> float:
        """Do it; returns the seconds that it took."""
        started = time.perf_counter()
        if self.sleeps:
            time.sleep(self.seconds)
        else:
            _multiply(started + self.seconds)
        return time.perf_counter() - started

    @property
    def text(self) -> str:
        """For the heading of a table."""
        kind = "asleep" if self.sleeps else "at work"
        return f"trials of {EPOCHS * self.seconds:g} s, {kind}"

    def announce(self) -> None:
        """Have the worker processes of karat, which inherit the environment, do this."""
        os.environ[_VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def announced(cls, environment: Mapping[str, str] = os.environ) -> "Work":
        """What the driver has announced."""
        return cls(**json.loads(environment[_VARIABLE]))


_VARIABLE = "BENCHMARK_WORK"


def _multiply(until: float) -> None:
    import torch

    a = torch.ones(64, 64)
    while time.perf_counter() < until:
        a @ a


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
