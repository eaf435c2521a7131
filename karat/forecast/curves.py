"""Learning curves without training: modelled from a seed, or taken from a finished study's journal."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from karat.errors import InputError
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.seeds import derive

START = 0.1
_NORMALS = 16_411  # prime, so that the strides through the table visit every entry


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialInfo:
    """What a learning curve depends on: a trial's arm, tuned values, number, seed and full length.

    `is_tested` says whether the trial is tested after its last epoch, which is part of that epoch.
    """

    arm: str
    tuned: Mapping[str, Any]
    number: int
    seed: int
    epochs: int
    is_tested: bool = False


class Curves(Protocol):
    """Metric values and durations of a trial's epochs; deterministic for each trial."""

    def value(self, trial: TrialInfo, epoch: int) -> float:
        """Return the search's metric after `epoch` epochs, counted from 1."""

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        """Return the duration of that epoch, in seconds."""


class ModelledCurves:
    """A power law towards a plateau, with noise: v(e) = p - (p - 0.1) e^-d + noise.

    Source: power laws describe learning curves of many models well (Domhan et al. 2015; Viering
    and Loog 2022, arXiv 2103.10948). The plateau p is drawn for each arm and, around it, for each
    configuration; the decay d for each trial.

    Args:
        seed: seed of all random numbers.
        epoch_s: mean seconds of an epoch of each arm; trials vary with a standard deviation of 10 %.
        mode: mode of the metric; `min` yields 1 - v.
        noise: standard deviation of the noise of a value.
        trial_s: seconds of a trial beside its epochs; part of its first one.
        test_s: seconds of the tests of each arm; none where it is left out.
    """

    def __init__(
        self,
        seed: int,
        epoch_s: Mapping[str, float],
        mode: str = "max",
        noise: float = 0.01,
        trial_s: float = 0.0,
        test_s: Mapping[str, float] | None = None,
    ) -> None:
        self._test_s = test_s or {}
        self._epoch_s, self._mode, self._noise, self._trial_s = epoch_s, mode, noise, trial_s
        self._normals = np.random.default_rng(seed).standard_normal(_NORMALS).tolist()
        self._plateaus = {arm: derive(seed, "arm", arm) / 2**32 for arm in epoch_s}

    def value(self, trial: TrialInfo, epoch: int) -> float:
        plateau = 0.6 + 0.3 * self._plateaus[trial.arm] - 0.08 * abs(self._normal(trial, 0))
        decay = math.exp(-0.2 + 0.3 * self._normal(trial, 1))
        risen = (plateau - START) * math.pow(epoch, -decay)
        value = plateau - risen + self._noise * self._normal(trial, 2 + epoch)
        value = min(1.0, max(0.0, value))
        return value if self._mode == "max" else 1 - value

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        beside = self._trial_s if epoch == 1 else 0.0
        if trial.is_tested and epoch == trial.epochs:
            beside += self._test_s.get(trial.arm, 0.0)
        return beside + self._epoch_s[trial.arm] * max(0.5, 1 + 0.1 * self._normal(trial, 2))

    def _normal(self, trial: TrialInfo, place: int) -> float:
        # From a table: creating a generator for each trial would take most of a forecast's time.
        normal: float = self._normals[(7919 * trial.number + 104_729 * place) % _NORMALS]
        return normal


class RecordedCurves:
    """Curves of a finished study: a trial gets that of a recorded trial of its arm, by its number.

    Only completed trials are used; for an arm without one, those of all arms. Beyond the end of a
    curve its last value is repeated.

    Args:
        state: state of the finished study.

    Attributes:
        others: metrics beside the search's that every report has.

    Raises:
        InputError: the study has no completed trial.
    """

    def __init__(self, state: StudyState) -> None:
        self._metric = state.created.get("metric", "val_accuracy")
        self._of_arm: dict[str, list[Trial]] = defaultdict(list)
        for trial in state.trials.values():
            if trial.status == "completed" and trial.reports:
                self._of_arm[trial.arm].append(trial)
        self._all = [trial for trials in self._of_arm.values() for trial in trials]
        if not self._all:
            raise InputError("--curves: no trial of this study was completed; take another study")
        self._of_number = {trial.number: trial for trial in self._all}
        self._values: dict[int, list[float]] = {}
        self._seconds: dict[int, list[float]] = {}
        for trial in self._all:
            self._values[trial.number] = [each.metrics[self._metric] for each in trial.reports]
            self._seconds[trial.number] = [each.seconds for each in trial.reports]
        names = [set(each.metrics) for trial in self._all for each in trial.reports]
        self.others = frozenset(
            name
            for name in set.intersection(*names)
            if name != self._metric and not name.startswith("test_")
        )

    def metrics(self, trial: TrialInfo, epoch: int) -> Mapping[str, float]:
        """Return the metrics `others` after `epoch` epochs."""
        reports = self._of_number[self._of(trial)].reports
        found = reports[min(epoch, len(reports)) - 1].metrics
        return {name: found[name] for name in self.others}

    def value(self, trial: TrialInfo, epoch: int) -> float:
        values = self._values[self._of(trial)]
        return values[min(epoch, len(values)) - 1]

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        seconds = self._seconds[self._of(trial)]
        return seconds[min(epoch, len(seconds)) - 1]

    def _of(self, trial: TrialInfo) -> int:
        known = self._of_arm.get(trial.arm) or self._all
        return known[derive("curve", trial.number) % len(known)].number
