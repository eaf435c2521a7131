"""A study on a virtual clock: real plan, early stopping and journal; no Ray, and no training.

`python -m karat simulate --space FILE --workers 64` tells wall time, utilisation, decisions and
what the driver has to do, on any number of workers. The driver takes reports one after the other:
with `driver_s`, the seconds that it needs for one, a report waits until those before it are done,
and so does the worker that sent it.
"""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from karat.forecast.curves import Asked, Curves
from karat.forecast.event_loop import EventLoop
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
    loop = EventLoop(workers, driver_s, BEGAN)
    with Journal.open(folder, loop.time) as journal:
        study = Study(space, journal, folder, loop.time)
        study.record("study_created", **description(space, "simulated"))
        terms = asdict(space.terms)
        study.record("launched", slots=workers, environment={}, terms=terms)
        simulated = _SimulatedStudy(study, curves)
        loop.run(simulated)
        if not study.finished:
            study.on_interrupted(None)
        return Simulated(
            state=study.state,
            wall_s=loop.now - BEGAN,
            busy_s=loop.busy_s,
            workers=workers,
            report_s=simulated.report_s,
            ask_s=simulated.ask_s,
        )


@dataclass
class _SimulatedStudy:
    """A study whose trials report what curves say; measures the driver's real work.

    Args:
        study: the real one.
        curves: of its trials.
        report_s, ask_s: seconds that each report and each new segment took.
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
        return self.curves.seconds(_asked(self.study.state.trials[trial]), epoch)

    def report(self, trial: int, epoch: int) -> bool:
        reporting = self.study.state.trials[trial]
        asked = _asked(reporting)
        value = self.curves.value(asked, epoch)
        loss = value if self.study.space.search.metric == "val_loss" else 1 - value
        metrics = {"val_accuracy": 1 - loss, "val_loss": loss}
        if reporting.phase == "confirm" and epoch == reporting.epochs:
            metrics |= {key.replace("val_", "test_"): each for key, each in metrics.items()}
        seconds = self.curves.seconds(asked, epoch)
        started = time.perf_counter()
        is_done = self.study.on_report(trial, epoch, metrics, seconds)
        self.report_s.append(time.perf_counter() - started)
        return is_done


def _asked(trial: Trial) -> Asked:
    return Asked(
        arm=trial.arm,
        tuned=trial.tuned,
        number=trial.number,
        seed=trial.seed,
        epochs=trial.epochs,
    )
