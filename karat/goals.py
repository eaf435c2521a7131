"""What a study with several goals weighs against each other: `search.goals`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from karat.constraints import EPOCH_S, MACS, MEMORY, PARAMETERS
from karat.errors import SettingError, nearest

Mode = Literal["max", "min"]
# What can be a goal, and which of its values are good. The first two are metrics of an epoch; memory is the measured peak of
# a trial's process, in units of 2^20 bytes, and `epoch_s` the mean seconds of an epoch.
GOOD: dict[str, Mode] = {
    "val_accuracy": "max",
    "val_loss": "min",
    PARAMETERS: "min",
    MACS: "min",
    MEMORY: "min",
    EPOCH_S: "min",
}
MOST = 3
_DIRECTION = "is missing: a goal needs its direction, mode: max or mode: min"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal.

    Args:
        metric: what is weighed; that of the first goal is `search.metric`.
        mode: whether high or low values are good.
    """

    metric: str = field(metadata={"missing": "is missing: what the goal is about"})
    mode: Mode = field(metadata={"missing": _DIRECTION})

    def __post_init__(self) -> None:
        if self.metric not in GOOD:
            rule = f"cannot be a goal. {nearest(self.metric, GOOD)}"
            raise SettingError("metric", rule, self.metric)
        if self.mode != GOOD[self.metric]:
            good = "low" if GOOD[self.metric] == "min" else "high"
            rule = f"must be {GOOD[self.metric]} for {self.metric}, of which {good} values are good"
            raise SettingError("mode", rule, self.mode)

    def goodness(self, value: float) -> float:
        """The value, or its negative where low values are good."""
        return value if self.mode == "max" else -value

    def __str__(self) -> str:
        return f"{'high' if self.mode == 'max' else 'low'} {self.metric}"


def check_goals(goals: Sequence[Goal], metric: str) -> None:
    """Refuse one goal alone, too many, one twice, and goals that are not led by the metric of the verdicts.

    Raises:
        SettingError: `goals`, and what would be right.
    """
    if not goals:
        return
    names = [goal.metric for goal in goals]
    if not 2 <= len(goals) <= MOST:
        rule = f"must be 2 or {MOST} goals; one alone is search.metric"
        raise SettingError("goals", rule, names)
    if len(set(names)) < len(names):
        raise SettingError("goals", "names a metric twice", names)
    if names[0] != metric:
        rule = f"the first must be search.metric, {metric}, about which the verdicts are"
        raise SettingError("goals", rule, names)


def dominates(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether the first is as good in all and better in one; of values of which high ones are good."""
    pairs = list(zip(ours, theirs, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def front_of(points: Sequence[Sequence[float]]) -> list[int]:
    """The places of those that no other one dominates; of equal points all."""
    return [
        place
        for place, point in enumerate(points)
        if not any(dominates(other, point) for other in points)
    ]


def ranks_of(points: Sequence[Sequence[float]]) -> list[int]:
    """The non-dominated rank of each point, from 0: those of the front, those of the front without them, and so on.

    Source: Deb et al. 2002, section III.A, with its counts of dominating points: O(n²) comparisons.
    """
    import numpy as np  # a space is read without it

    values = np.array(points, dtype=float)
    as_good = np.all(values[:, None] >= values, axis=2)
    dominating = as_good & ~as_good.T  # [by, whom]
    above = dominating.sum(0)
    found, rank = np.full(len(values), -1), 0
    while len(front := np.flatnonzero((above == 0) & (found < 0))):
        found[front] = rank
        above -= dominating[front].sum(0)
        rank += 1
    return [int(each) for each in found]
