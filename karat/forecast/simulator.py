"""Simulates a study on a virtual clock: real plan, early stopping and journal; no Ray, no training.

`python -m karat simulate --space FILE --workers 64` shows wall time, utilisation, decisions and the
load of the driver for any number of workers. The driver processes one report at a time, in
`driver_s` seconds; reports that arrive in between wait, and so do the workers that sent them.
"""

import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from karat.constraints import MACS, PARAMETERS, Constraint
from karat.forecast.curves import Curves, RecordedCurves, TrialInfo
from karat.forecast.event_loop import EventLoop
from karat.journal.journal import Journal
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.journal.unwritten import UnwrittenJournal
from karat.space.space import Space
from karat.study.description import description
from karat.study.study import Study

BEGAN = 1_700_000_000.0  # a fixed start, so that a simulation always writes the same journal


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Result of a simulation.

    Args:
        state: state of the study at its end.
        wall_s: seconds on the virtual clock.
        busy_s: seconds in which workers trained, summed over workers.
        workers: the number of trials at a time.
        report_s, ask_s: measured seconds of the driver for each report and each new segment.
    """

    state: StudyState
    wall_s: float
    busy_s: float
    workers: int
    report_s: list[float]
    ask_s: list[float]

    @property
    def utilisation(self) -> float:
        """Fraction of the workers' time in which they trained."""
        return self.busy_s / (self.wall_s * self.workers)

    @property
    def driver_load(self) -> float:
        """Fraction of the study's time in which the driver works; at 1 it is the bottleneck."""
        return (sum(self.report_s) + sum(self.ask_s)) / self.wall_s


def simulate(
    space: Space, folder: Path | None, workers: int, curves: Curves, driver_s: float = 0.0
) -> Simulated:
    """Simulate a new study to its end, or until its budget is used up.

    Args:
        space: the search space.
        folder: folder for the study; must be empty. None keeps the journal in memory only, which takes a
            fraction of the time: nothing waits for the disk or for the study's lock.
        workers: the number of trials at a time.
        curves: learning curves of the trials. Constraints on metrics that they do not have are left out, and so is
            `search.warm_start`.
        driver_s: seconds on the virtual clock that the driver needs for a report.
    """
    lacking = {str(each) for each in not_simulated(space, curves)}
    meant = tuple(str(each) for each in space.search.conditions if str(each) not in lacking)
    # Values of an older study do not compare with those of curves, so that the search begins with nothing.
    search = replace(space.search, constraints=meant, warm_start=None)
    space = replace(space, search=search)
    loop = EventLoop(workers, driver_s, BEGAN)
    if folder is not None:
        with Journal.open(folder, loop.time) as journal:
            return _simulated(Study(space, journal, folder, loop.time), loop, curves)
    with tempfile.TemporaryDirectory(prefix="karat-") as empty:
        kept = UnwrittenJournal(loop.time)
        return _simulated(Study(space, kept, Path(empty), loop.time), loop, curves)


def not_simulated(space: Space, curves: Curves) -> list[Constraint]:
    """The constraints of the search on metrics that learning curves do not have, and on memory, which is not forecast here."""
    others = curves.others if isinstance(curves, RecordedCurves) else ()
    known = {space.search.metric, *others, PARAMETERS, MACS}
    return [each for each in space.search.conditions if each.metric not in known]


def _simulated(study: Study, loop: EventLoop, curves: Curves) -> Simulated:
    study.last_state = _at_last_report
    study.record("study_created", **description(study.space, "simulated"))
    terms = asdict(study.space.terms)
    study.record("launched", slots=loop.workers, environment={}, terms=terms)
    simulated = _SimulatedStudy(study, curves)
    loop.run(simulated)
    if not study.finished:
        study.on_interrupted(None)
    return Simulated(
        state=study.state,
        wall_s=loop.now - BEGAN,
        busy_s=loop.busy_s,
        workers=loop.workers,
        report_s=simulated.report_s,
        ask_s=simulated.ask_s,
    )


@dataclass
class _SimulatedStudy:
    """Workload whose trials report values of learning curves to a real study, which is timed.

    Args:
        study: the real study.
        curves: learning curves of its trials.
        report_s, ask_s: measured seconds of each report and each new segment.
    """

    study: Study
    curves: Curves
    report_s: list[float] = field(default_factory=list)
    ask_s: list[float] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.study.spent() is not None

    def begin(self) -> int | None:
        started = time.perf_counter()
        segment = self.study.next_segment()
        self.ask_s.append(time.perf_counter() - started)
        return None if segment is None else segment.trial

    def seconds(self, trial: int, epoch: int) -> float:
        return self.curves.seconds(_info(self.study.state.trials[trial]), epoch)

    def report(self, trial: int, epoch: int) -> bool:
        reporting = self.study.state.trials[trial]
        info = _info(reporting)
        value = self.curves.value(info, epoch)
        loss = value if self.study.space.search.metric == "val_loss" else 1 - value
        metrics = {"val_accuracy": 1 - loss, "val_loss": loss}
        if isinstance(self.curves, RecordedCurves):
            metrics |= self.curves.metrics(info, epoch)
        if reporting.phase == "confirm" and epoch == reporting.epochs:
            metrics |= {key.replace("val_", "test_"): each for key, each in metrics.items()}
        seconds = self.curves.seconds(info, epoch)
        started = time.perf_counter()
        is_done = self.study.on_report(trial, epoch, metrics, seconds)
        self.report_s.append(time.perf_counter() - started)
        return is_done


def _at_last_report(folder: Path, epoch: int, owner: str = "") -> tuple[int, list[str]]:
    """As `last_state`: simulated trials lose no checkpoint."""
    return epoch, []


def _info(trial: Trial) -> TrialInfo:
    return TrialInfo(
        arm=trial.arm,
        tuned=trial.tuned,
        number=trial.number,
        seed=trial.seed,
        epochs=trial.epochs,
        is_tested=trial.phase == "confirm",
    )
