"""Invariants of a study's runs in MLflow."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.space.settings import DeletedRuns
from karat.tracking.sync import TrackedRun, runs_of_study
from karat.tracking.view import deleted_runs_of

_STATUS = {
    "completed": "FINISHED",
    "stopped": "FINISHED",
    "failed": "FAILED",
    "waiting": "KILLED",
    "running": "KILLED",
}


def audit_runs(
    folder: Path,
    events: Sequence[Event],
    state: StudyState,
    running: bool,
    deleted_runs: DeletedRuns | None,
) -> Iterator[str]:
    """Check MLflow against the journal; runs that lag behind a running driver are no violation."""
    if not state.created:
        return
    by_trial: dict[int, list[TrackedRun]] = {}
    deleted: set[int] = set()
    leave = deleted_runs_of(state, deleted_runs) == "leave"
    tracked = runs_of_study(folder, state)
    if tracked is None:
        if not leave:
            yield "MLflow's experiment of the study is deleted"
        return
    for run in tracked:
        if run.of_another:
            if not (run.deleted or running):
                yield f"MLflow shows another configuration or kernel for trial {run.trial}"
        elif not run.deleted:
            by_trial.setdefault(run.trial, []).append(run)
        elif leave:
            deleted.add(run.trial)
    for number, own in sorted(by_trial.items()):
        name = "the study" if number < 0 else f"trial {number}"
        if len(own) > 1:
            yield f"MLflow has {len(own)} runs of {name}"
        if number >= 0 and number not in state.trials:
            yield f"MLflow has a run of trial {number}, which the journal does not know"
        if not running and any(run.status == "RUNNING" for run in own):
            yield f"MLflow shows {name} as RUNNING, but no driver is running"
    if not running and -1 not in {*by_trial, *deleted}:
        yield "MLflow has no run of the study"
    latest = _latest(events, state.created["metric"])
    for trial in [] if running else state.trials.values():
        found = by_trial.get(trial.number)
        if found is None:
            if trial.number not in deleted:
                yield f"MLflow has no run of trial {trial.number}"
            continue
        if found[0].status != _STATUS[trial.status]:
            yield f"MLflow shows trial {trial.number} as {found[0].status}; it is {trial.status}"
        if missing := {report.epoch for report in trial.reports} - found[0].epochs:
            yield f"MLflow lacks epochs {sorted(missing)} of trial {trial.number}"
        yield from _last_value(found[0], state.created["metric"], latest.get(trial.number))


def _last_value(run: TrackedRun, metric: str, value: float | None) -> Iterator[str]:
    """Check the metric of a trial's run against the last value in the journal."""
    if value is None:
        return
    shown = run.latest.get(metric)
    if shown is None or not math.isclose(shown, value, rel_tol=1e-9):
        yield (
            f"MLflow shows {metric} {shown} for trial {run.trial}; the journal has {value} "
            "(delete the run in MLflow, and `karat sync` creates it again)"
        )


def _latest(events: Sequence[Event], metric: str) -> dict[int, float]:
    """The value of each trial that MLflow must show: the newest one of the highest epoch ever reported.

    `Trial.last` differs if a segment resumed at an earlier epoch and ended before that epoch.
    """
    best: dict[int, tuple[int, int, float]] = {}
    for event in events:
        data = event.data
        if event.kind == "reported" and metric in data["metrics"]:
            point = (data["epoch"], round(1000 * event.time), data["metrics"][metric])
            best[data["trial"]] = max(best.get(data["trial"], point), point)
    return {trial: value for trial, (_, _, value) in best.items()}
