"""What must hold of every study, checked from what is on disk and in MLflow.

| invariant | what is looked at |
|---|---|
| trials are as planned, and each is there once | `trial_asked` against the space's totals |
| a trial runs in one segment at a time, and ends once | segments and ends |
| its epochs follow each other without gap or repeat | reports, from each segment's start |
| a segment starts after the last epoch reported, or says which checkpoints were passed over: one for one epoch, both that are kept for more | starts of segments |
| every checkpoint that is referred to verifies | files below `trials/` |
| a finished study has finished trials only | the last event |
| MLflow has one run for each trial, with its configuration, its end, all its epochs and the last value | the tracking server; a deleted run is right where the space says `deleted_runs: leave` |
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from karat.journal import FILE_NAME, Event, read_events
from karat.mlflow_view import deleted_runs_of
from karat.space import DeletedRuns
from karat.state import StudyState, Trial
from karat.studylock import is_locked
from karat.tracking import TrackedRun, runs_of_study

_STATUS = {
    "completed": "FINISHED",
    "stopped": "FINISHED",
    "failed": "FAILED",
    "waiting": "KILLED",
    "running": "KILLED",
}
_KINDS_OF_TRIALS = (
    *("segment_started", "segment_placed", "reported"),
    *("segment_ended", "trial_ended"),
)


def audit(
    folder: Path, *, tracking: bool = True, deleted_runs: DeletedRuns | None = None
) -> list[str]:
    """What is wrong with a study, each as one line; nothing if all invariants hold.

    Args:
        folder: the study's.
        tracking: whether MLflow is looked at too.
        deleted_runs: what was asked for them, in place of what the space says.

    Raises:
        JournalError: the journal is damaged, so that nothing can be said.
    """
    running = is_locked(folder)
    events = list(read_events(folder / FILE_NAME))
    state = StudyState.of(events)
    found = [*_order(events), *_plan(state), *_ends(state, running)]
    for trial in state.trials.values():
        found += _checkpoints(folder, trial)
    if tracking:
        found += _runs(folder, events, state, running, deleted_runs)
    return found


def _order(events: Sequence[Event]) -> Iterator[str]:
    """Segments, epochs and ends of each trial, one event after the other."""
    running: dict[int, int] = {}
    segments: Counter[int] = Counter()
    epochs: dict[int, int] = {}
    ended: set[int] = set()
    asked: set[int] = set()
    if not events or events[0].kind != "study_created":
        yield "the journal does not begin with study_created"
    for event in events:
        number = event.data.get("trial", -1)
        where = f"event {event.seq}: trial {number}"
        if event.kind == "trial_asked":
            if number in asked:
                yield f"{where} was asked for twice"
            elif number != len(asked):
                yield f"{where} follows trial {len(asked) - 1}"
            asked.add(number)
        if event.kind not in _KINDS_OF_TRIALS:
            continue
        if number in ended:
            yield f"{where}: {event.kind} after its end"
        if event.kind == "segment_started":
            if number in running:
                yield f"{where}: segment {event.data['segment']} started while another one ran"
            if event.data["segment"] != segments[number]:
                yield f"{where}: segment {event.data['segment']} where {segments[number]} was due"
            if event.data["from_epoch"] > epochs.get(number, 0):
                yield f"{where}: starts after epoch {event.data['from_epoch']}, which was never reported"
            yield from (f"{where}: {text}" for text in _repeats(event, epochs.get(number, 0)))
            segments[number] += 1
            running[number] = event.data["segment"]
            epochs[number] = event.data["from_epoch"]
        elif event.kind == "segment_placed":
            if running.get(number) != event.data["segment"]:
                yield f"{where}: a place for segment {event.data['segment']}, which does not run"
        elif event.kind == "reported":
            if running.get(number) != event.data["segment"]:
                yield f"{where}: a report from segment {event.data['segment']}, which does not run"
            if event.data["epoch"] != epochs.get(number, 0) + 1:
                yield f"{where}: epoch {event.data['epoch']} after epoch {epochs.get(number, 0)}"
            epochs[number] = event.data["epoch"]
        elif event.kind == "segment_ended":
            if running.pop(number, None) != event.data["segment"]:
                yield f"{where}: segment {event.data['segment']} ended, which did not run"
        else:
            running.pop(number, None)
            ended.add(number)


def _repeats(started: Event, last: int) -> Iterator[str]:
    """Epochs that a segment does again without a reason; `last` is the last one reported."""
    from karat.checkpoint import KEPT  # brings torch

    again, named = last - started.data["from_epoch"], len(started.data.get("passed_over", ()))
    if min(again, KEPT) > named:
        yield (
            f"starts again after epoch {started.data['from_epoch']}, and {last} were reported; "
            f"checkpoints passed over: {min(again, KEPT)} needed, {named} named"
        )


def _plan(state: StudyState) -> Iterator[str]:
    """Numbers of trials against the plan."""
    if not state.created:
        return
    confirmed = 0
    if state.confirmation is not None:
        confirmed = len(state.confirmation["cells"]) * state.created["confirm"]["seeds"]
    for phase, planned in (("search", state.created["totals"]["search"]), ("confirm", confirmed)):
        trials = state.of_phase(phase)  # type: ignore[arg-type]
        if len(trials) > planned:
            yield f"{len(trials)} trials of phase {phase}; {planned} were planned"
        is_cut = phase == "search" and state.search_cut
        if state.status == "completed" and len(trials) < planned and not is_cut:
            yield f"the study is complete with {len(trials)} of {planned} trials of phase {phase}"
    cells = Counter((t.arm, t.seed) for t in state.of_phase("confirm"))
    for (arm, seed), count in cells.items():
        if count > 1:
            yield f"{arm} was confirmed {count} times with seed {seed}"
    if used := {t.seed for t in state.of_phase("search")} & {seed for _, seed in cells}:
        yield f"seeds of the search were used again for confirmation: {sorted(used)}"


def _ends(state: StudyState, running: bool) -> Iterator[str]:
    """Who may still be running."""
    if state.status in ("completed", "failed"):
        for trial in state.trials.values():
            if not trial.ended:
                yield f"the study is {state.status}, and trial {trial.number} has not ended"
    for trial in state.trials.values():
        last = trial.reports[-1].epoch if trial.reports else 0
        if trial.status == "completed" and last != trial.epochs:
            yield f"trial {trial.number} is complete after epoch {last} of {trial.epochs}"
        if trial.status == "running" and state.status == "interrupted" and not running:
            yield f"trial {trial.number} runs, and the study is interrupted"


def _checkpoints(folder: Path, trial: Trial) -> Iterator[str]:
    """The weights of a completed trial, and what a trial that goes on would go on from."""
    from karat.checkpoint import SERIES, epoch_of, load_checkpoint, newest_first  # brings torch
    from karat.errors import CheckpointError

    own = folder / "trials" / f"{trial.number:04d}"
    last = trial.reports[-1].epoch if trial.reports else 0
    known = {s: [p for p in newest_first(own, s) if epoch_of(p) <= last] for s in SERIES}
    ahead = max(map(epoch_of, newest_first(own, "epoch")), default=0)
    if ahead > last + 1:  # a worker reports each epoch before it goes on
        yield f"trial {trial.number}: a checkpoint after epoch {ahead}, and reports up to {last}"
    wanted = []
    kept = trial.status not in ("failed", "stopped") and not trial.weights_dropped
    if trial.reports and kept:
        wanted += known["best"][:1]
        if not known["best"]:
            yield f"trial {trial.number}: there is no checkpoint of its best epoch in {own}"
    if not trial.ended:
        if trial.reports and not known["epoch"]:
            yield f"trial {trial.number}: there is no checkpoint to go on from in {own}"
        wanted += [*known["epoch"], *(p for p in known["within"] if epoch_of(p) == last)]
    for path in wanted:
        try:
            load_checkpoint(path, trial.fingerprint)
        except CheckpointError as error:
            yield f"trial {trial.number}: {error}"


def _runs(
    folder: Path,
    events: Sequence[Event],
    state: StudyState,
    running: bool,
    deleted_runs: DeletedRuns | None,
) -> Iterator[str]:
    """MLflow against the journal; what a living driver has not told it yet is no fault."""
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
            yield f"MLflow shows {name} as RUNNING, and no driver is running"
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
            yield f"MLflow misses epochs {sorted(missing)} of trial {trial.number}"
        yield from _last_value(found[0], state.created["metric"], latest.get(trial.number))


def _last_value(run: TrackedRun, metric: str, value: float | None) -> Iterator[str]:
    """The metric of a trial's run against the journal's last value."""
    if value is None:
        return
    shown = run.latest.get(metric)
    if shown is None or not math.isclose(shown, value, rel_tol=1e-9):
        yield (
            f"MLflow shows {metric} {shown} for trial {run.trial}; the journal has {value} "
            "(delete the run in MLflow, and `karat sync` makes it anew)"
        )


def _latest(events: Sequence[Event], metric: str) -> dict[int, float]:
    """Each trial's value as MLflow is to show it: the newest one of the highest epoch ever reported.

    `Trial.last` is another where a segment began at an earlier epoch and did not come as far.
    """
    best: dict[int, tuple[int, int, float]] = {}
    for event in events:
        data = event.data
        if event.kind == "reported" and metric in data["metrics"]:
            point = (data["epoch"], round(1000 * event.time), data["metrics"][metric])
            best[data["trial"]] = max(best.get(data["trial"], point), point)
    return {trial: value for trial, (_, _, value) in best.items()}
