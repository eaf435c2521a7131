"""A study on a virtual clock: real plan, early stopping and journal; no Ray, and no training.

`python -m karat simulate --space FILE --workers 64` tells wall time, utilisation, decisions and
what the driver has to do, on any number of workers. The driver takes reports one after the other:
with `driver_s`, the seconds that it needs for one, a report waits until those before it are done,
and so does the worker that sent it.
"""

import heapq
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from karat.forecast.curves import Asked, Curves
from karat.journal.journal import Journal
from karat.journal.state import StudyState, Trial
from karat.space.space import Space
from karat.study.description import description
from karat.study.study import Study

BEGAN = 1_700_000_000.0  # of every simulation, so that the same one gives the same journal


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """What came of it.

    Args:
        state: of the study at its end.
        wall_s: on the virtual clock.
        busy_s: seconds in which workers trained.
        workers: trials at a time.
        report_s, ask_s: what the driver really needed for each report and each new segment.
    """

    state: StudyState
    wall_s: float
    busy_s: float
    workers: int
    report_s: list[float]
    ask_s: list[float]

    @property
    def utilisation(self) -> float:
        """Share of the workers' time in which they trained."""
        return self.busy_s / (self.wall_s * self.workers)

    @property
    def driver_load(self) -> float:
        """The driver's work for a second of the study; at 1 it is all that it can do."""
        return (sum(self.report_s) + sum(self.ask_s)) / self.wall_s


def simulate(
    space: Space, folder: Path, workers: int, curves: Curves, driver_s: float = 0.0
) -> Simulated:
    """Run a new study in `folder` to its end, or until its budget is spent.

    Args:
        space: the question.
        folder: of the study; empty.
        workers: trials at a time.
        curves: of its trials.
        driver_s: seconds of the virtual clock that the driver needs for a report.
    """
    clock = _Clock()
    with Journal.open(folder, clock) as journal:
        study = Study(space, journal, folder, clock)
        study.record("study_created", **description(space, "simulated"))
        terms = asdict(space.terms)
        study.record("launched", slots=workers, environment={}, terms=terms)
        cluster = _Cluster(study, clock, workers, curves, driver_s)
        cluster.run()
        if not study.finished:
            study.on_interrupted("budget")
        return Simulated(
            state=study.state,
            wall_s=clock.now - BEGAN,
            busy_s=cluster.busy_s,
            workers=workers,
            report_s=cluster.report_s,
            ask_s=cluster.ask_s,
        )


@dataclass
class _Clock:
    now: float = BEGAN

    def __call__(self) -> float:
        return self.now


@dataclass
class _Cluster:
    """Workers that come to an end of an epoch one after the other, and the one driver."""

    study: Study
    clock: _Clock
    workers: int
    curves: Curves
    driver_s: float
    busy_s: float = 0.0
    report_s: list[float] = field(default_factory=list)
    ask_s: list[float] = field(default_factory=list)
    _ends: list[tuple[float, int, int]] = field(default_factory=list)
    _driver_free_at: float = BEGAN

    def run(self) -> None:
        """Until nothing runs any more."""
        self._fill()
        while self._ends and self.study.spent() is None:
            at, number, epoch = heapq.heappop(self._ends)
            self.clock.now = self._driver_free_at = max(at, self._driver_free_at) + self.driver_s
            if self._report(self.study.state.trials[number], epoch):
                self._fill()
            else:
                self._begin(number, epoch + 1)

    def _fill(self) -> None:
        while len(self._ends) < self.workers:
            started = time.perf_counter()
            segment = self.study.next_segment()
            self.ask_s.append(time.perf_counter() - started)
            if segment is None:
                return
            self._begin(segment.trial, 1)

    def _begin(self, number: int, epoch: int) -> None:
        seconds = self.curves.seconds(_asked(self.study.state.trials[number]), epoch)
        self.busy_s += seconds
        heapq.heappush(self._ends, (self.clock.now + seconds, number, epoch))

    def _report(self, trial: Trial, epoch: int) -> bool:
        asked = _asked(trial)
        value = self.curves.value(asked, epoch)
        loss = value if self.study.space.search.metric == "val_loss" else 1 - value
        metrics = {"val_accuracy": 1 - loss, "val_loss": loss}
        if trial.phase == "confirm" and epoch == trial.epochs:
            metrics |= {key.replace("val_", "test_"): each for key, each in metrics.items()}
        seconds = self.curves.seconds(asked, epoch)
        started = time.perf_counter()
        done = self.study.on_report(trial.number, epoch, metrics, seconds)
        self.report_s.append(time.perf_counter() - started)
        return done


def _asked(trial: Trial) -> Asked:
    return Asked(
        arm=trial.arm,
        tuned=trial.tuned,
        number=trial.number,
        seed=trial.seed,
        epochs=trial.epochs,
    )
