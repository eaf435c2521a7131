"""The median stopping rule, within every arm."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from karat.errors import SettingError
from karat.schedulers import ArmSize, Scheduler, grace_within, several_trials
from karat.settings import at_least


@dataclass(kw_only=True)
class Median(Scheduler):
    """The median stopping rule of Vizier (Golovin et al. 2017, KDD, section 3.2.2).

    After epoch e a trial stops if its best value so far is worse than the median, over the completed
    trials, of the mean of their values up to epoch e. Departures: only trials of the same arm are
    compared, and none is stopped before `grace_epochs` or before `min_trials` trials of its arm were
    completed.

    Args:
        grace_epochs: epochs of each trial before it may be stopped.
        min_trials: completed trials of an arm before any of it is stopped.
    """

    grace_epochs: int = 1
    min_trials: int = 3
    _values: dict[int, dict[int, float]] = field(default_factory=dict, init=False)
    _completed: dict[str, set[int]] = field(default_factory=dict, init=False)
    # Arm and epoch to the means of its completed trials up to there, in ascending order.
    _means: dict[tuple[str, int], list[float]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        at_least("grace_epochs", self.grace_epochs, 1)
        at_least("min_trials", self.min_trials, 1)

    def fit(self, arms: Mapping[str, ArmSize]) -> None:
        super().fit(arms)
        several_trials(self, "median")
        grace_within(self, self.grace_epochs)
        if self.fewest is not None and self.min_trials >= self.fewest:
            raise SettingError(
                "min_trials",
                f"no trial would be stopped: an arm has {self.fewest} trials; must be below that",
                self.min_trials,
            )

    def in_words(self) -> str:
        if self.longest < 2:
            return "no trial is stopped, since trials have 1 epoch"
        return (
            f"from epoch {self.grace_epochs} on, once {self.min_trials} trials of its arm are complete, a "
            "trial whose best value is worse than the median of their mean values up to there stops"
        )

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        completed = self._completed.setdefault(arm, set())
        if trial in completed:  # it repeats its last epoch
            return False
        values = self._values.setdefault(trial, {})
        values.setdefault(epoch, self.signed(value))
        if epoch >= self.arms[arm].epochs:
            completed.add(trial)
            self._add_means(arm, self._values.pop(trial))
            return False
        if epoch < self.grace_epochs or len(completed) < self.min_trials:
            return False
        return max(values.values()) < median(self._means[arm, epoch])

    def _add_means(self, arm: str, values: Mapping[int, float]) -> None:
        total, count = 0.0, 0
        for epoch in range(1, self.arms[arm].epochs):
            if epoch in values:
                total, count = total + values[epoch], count + 1
            if count:
                bisect.insort(self._means.setdefault((arm, epoch), []), total / count)


def median(ordered: Sequence[float]) -> float:
    """The median of values in ascending order, of which there is at least one."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
