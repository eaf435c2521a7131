"""Learning curves whose truth is known, for `benchmarks.evidence`: by arm, learning rate, seed and epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from karat.forecast.curves import TrialInfo
from karat.seeds import derive

LEARNING_RATE = "training.learning_rate"
LOW, HIGH = 1e-3, 1e-1
POINT = 0.01  # of accuracy
HIGHEST = 0.80  # accuracy of the reference at its best learning rate, without noise
_MIDDLE = (math.log10(LOW) + math.log10(HIGH)) / 2
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """How a value depends on the tuned learning rate, and how noisy it is; sizes are in points of accuracy.

    Args:
        name: in tables.
        steepness: what is lost at a distance of one decade from the best learning rate, as its square.
        apart: decades from the middle of the range to the best learning rate of an arm: below the middle for
            the reference and every second arm, above it for the others. The range and its search are the same
            seen from either end, so that all arms are equally good once tuned.
        shared: sd of the noise that all arms have in common for one seed.
        own: sd of the noise of each run alone.
        early: sd of the noise of an epoch before the last one, beside that.
        late_start: what every second arm is behind after no epoch at all; it catches up by the last one.
        epochs: of a trial.
        early_stopping: section of the space.
    """

    name: str
    steepness: float
    own: float
    apart: float = 0.0
    shared: float = 1.0
    early: float = 0.5
    late_start: float = 0.0
    epochs: int = 1
    early_stopping: Mapping[str, Any] = field(default_factory=lambda: {"scheduler": "none"})


FLAT = Landscape(name="flat", steepness=0.0, own=0.7)
STEEP = Landscape(name="steep and noisy", steepness=8.0, own=1.5)
CROSSING = Landscape(
    name="crossing",
    steepness=8.0,
    own=0.7,
    apart=0.4,
    late_start=30.0,
    epochs=3,
    early_stopping={"scheduler": "asha", "grace_epochs": 1, "reduction_factor": 2},
)
LANDSCAPES = (FLAT, STEEP, CROSSING)


@dataclass(frozen=True, kw_only=True)
class KnownCurves:
    """The curves of one study; a trial's are a function of its arm, learning rate and seed.

    Args:
        landscape: of all arms.
        arms: labels, the reference first.
        difference: points by which every arm but the reference is truly better.
        failing: arm to the share of its seeds that fail: the value of their first epoch is no number.
        study: seed of all random numbers.
    """

    landscape: Landscape
    arms: Sequence[str]
    difference: float = 0.0
    failing: Mapping[str, float] = field(default_factory=dict)
    study: int = 0

    def value(self, trial: TrialInfo, epoch: int) -> float:
        """Accuracy after `epoch` epochs, from 0 to 1; NaN if the run fails."""
        if self._uniform("fails", trial.arm, trial.seed) < self.failing.get(trial.arm, 0.0):
            return math.nan
        land, rate = self.landscape, trial.tuned[LEARNING_RATE]
        noise = land.shared * self._normal("shared", trial.seed)
        noise += land.own * self._normal("own", trial.arm, rate, trial.seed)
        left = 1 - epoch / trial.epochs  # share of the training
        if left:
            noise += land.early * self._normal("early", trial.arm, rate, trial.seed, epoch)
            noise -= land.late_start * left * self._is_second(trial.arm)
        return self.expected(trial.arm, trial.tuned) + noise * POINT

    def expected(self, arm: str, tuned: Mapping[str, Any]) -> float:
        """Accuracy of a cell at the end of training, without noise."""
        land = self.landscape
        side = 1 if self._is_second(arm) else -1
        distance = math.log10(tuned[LEARNING_RATE]) - _MIDDLE - side * land.apart
        lost = land.steepness * distance**2
        return HIGHEST + (self.truth(arm) - lost) * POINT

    def best(self, arm: str) -> float:
        """Accuracy of an arm at its best learning rate, without noise."""
        return HIGHEST + self.truth(arm) * POINT

    def truth(self, arm: str) -> float:
        """Points by which an arm, tuned as the reference is, is better than it."""
        return 0.0 if arm == self.arms[0] else self.difference

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        """Of an epoch: runs differ a little, so that the order of their reports is not always the same."""
        return 1 + 0.1 * self._uniform("seconds", trial.arm, trial.number)

    def _is_second(self, arm: str) -> bool:
        return self.arms.index(arm) % 2 == 1

    def _uniform(self, *parts: object) -> float:
        return (derive(self.study, *parts) + 0.5) / 2**31

    def _normal(self, *parts: object) -> float:
        return _NORMAL.inv_cdf(self._uniform(*parts))
