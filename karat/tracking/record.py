"""The journal as the MLflow view needs it: the state, and every point of every metric."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from karat.journal.journal import Event, Follower
from karat.journal.reports import Reports
from karat.journal.state import StudyState
from karat.journal.trial import PHASES, Phase, Trial

COUNT_OF = {phase: f"{phase}_trials_ended" for phase in PHASES}
log = logging.getLogger(__name__)


class Point(NamedTuple):
    """Metrics at one step, and when they were reported (seconds since the epoch)."""

    time: float
    step: int
    metrics: Mapping[str, float]


@dataclass
class _Ended:
    """The trials of a phase that have ended: their number, and the best value of those that did not fail."""

    count: int = 0
    best: float | None = None

    def add(self, trial: Trial, created: Mapping[str, Any]) -> None:
        self.count += 1
        value = trial.last(created["metric"])
        if trial.status != "failed" and value is not None:
            better = max if created["mode"] == "max" else min
            self.best = value if self.best is None else better(self.best, value)


class Record:
    """The journal as the view needs it: the state, and every point of every metric.

    A segment that resumes from an earlier checkpoint removes reports from the state, but not from
    MLflow: only for such a trial the record keeps points of its own. All points are kept, since a
    view that failed starts again. If the journal file was replaced, `state` is a new object.

    `touched` has the trials with events since the view last cleared it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._follower = Follower(self.path)
        self.state = StudyState()
        self._reports: dict[int, Reports] = {}  # where they are more than those of the state
        self.study_points: list[Point] = []
        self.touched: set[int] = set()
        self._ended: dict[Phase, _Ended] = {}
        self.time = 0.0

    def read(self) -> None:
        """Read the events since the last call."""
        if self._follower.is_replaced():
            log.warning("%s: was replaced, and is read again from the beginning", self.path)
            self._begin()
        for event in self._follower.read():
            number = event.data.get("trial")
            before = self._reports_of(number) if event.kind == "segment_started" else None
            self.state.apply(event)
            self.time = event.time
            if number is not None:
                self.touched.add(number)
            if event.kind == "reported":
                self._add(event.data, event.time)
            elif before is not None:
                self._keep(event.data["trial"], before)
            elif event.kind == "trial_ended":
                self._count(event)
            elif event.kind == "study_extended" or event.data.get("set_aside"):
                self._count_again()

    def count(self, trial: int) -> int:
        """The number of points of a trial."""
        return len(self._reports_of(trial))

    def points(self, trial: int, start: int) -> list[Point]:
        """A trial's points from index `start`."""
        return [
            Point(report.time, report.epoch, {**report.metrics, "epoch_seconds": report.seconds})
            for report in self._reports_of(trial).since(start)
        ]

    def steps(self, trial: int) -> set[int]:
        """The steps of a trial's points."""
        return set(self._reports_of(trial).epochs)

    def _reports_of(self, number: Any) -> Reports:
        """All reports of a trial so far; empty for what is not the number of a trial."""
        if not isinstance(number, int) or number not in self.state.trials:
            return Reports()
        return self._reports.get(number, self.state.trials[number].reports)

    def _add(self, data: Mapping[str, Any], time: float) -> None:
        """Add a report that the state has taken, to the trial's own reports if it has them."""
        if data["trial"] in self._reports:
            self._reports[data["trial"]].add(data["epoch"], data["metrics"], data["seconds"], time)

    def _keep(self, number: int, before: Reports) -> None:
        """Keep the reports from before a segment if the state has removed some of them."""
        if len(before) > len(self.state.trials[number].reports):
            self._reports[number] = before

    def _count(self, event: Event) -> None:
        trial = self.state.trials[event.data["trial"]]
        ended = self._ended.setdefault(trial.phase, _Ended())
        if not trial.set_aside:
            ended.add(trial, self.state.created)
        metrics = {COUNT_OF[trial.phase]: float(ended.count)}
        if ended.best is not None:
            metrics[f"{trial.phase}_best_{self.state.created['metric']}"] = ended.best
        self.study_points.append(Point(event.time, ended.count, metrics))

    def _count_again(self) -> None:
        """Trials may have been set aside, which do not count."""
        self._ended = {phase: _Ended() for phase in PHASES}
        for phase, ended in self._ended.items():
            for trial in self.state.of_phase(phase):
                if trial.ended:
                    ended.add(trial, self.state.created)
