"""Invariants of every study, checked against the files on disk and MLflow.

| invariant | checked against |
|---|---|
| the rule of the verdicts, references, arms with their costs, totals and hash, as stated, follow from the search space | the space in the journal (`karat.study.question`) |
| trials are as planned, each exists once, and no phase uses the seeds of another | `trial_asked`, the planned shortlists and cells, and the space's totals |
| a trial runs in one segment at a time, and ends once | starts and ends of segments |
| its epochs follow each other without gap or repeat | reports, from each segment's start |
| a segment starts after the last reported epoch, or its event names the checkpoints that were skipped: one for one repeated epoch, both that are kept for more | starts of segments |
| every checkpoint that is needed verifies | files below `trials/` |
| a tested trial has the weights that were tested, and its accuracy is the share of right answers | `tested` of its last report |
| a finished study has finished trials only | the last event |
| MLflow has one run for each trial, with its configuration, its end, all its epochs and the last value | the tracking server; a deleted run is valid where the space has `deleted_runs: leave` |
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from karat.journal.evaluations import contradictions, evaluation_of
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL, trial_folder
from karat.journal.lock import is_locked
from karat.journal.shortlists import cell_of
from karat.journal.state import StudyState
from karat.journal.trial import Phase, Trial
from karat.space.settings import DeletedRuns
from karat.study.question import compare_question
from karat.tracking.audit import audit_runs
from karat.tracking.view import is_followed

_KINDS_OF_TRIALS = (
    *("segment_started", "segment_placed", "reported"),
    *("segment_ended", "trial_ended"),
)


def audit(
    folder: Path, *, tracking: bool = True, deleted_runs: DeletedRuns | None = None
) -> list[str]:
    """Check a study; returns one line for each violated invariant.

    Args:
        folder: of the study.
        tracking: whether to check MLflow too, unless the space has `tracking.follow: false`.
        deleted_runs: overrides the space's `tracking.deleted_runs`.

    Raises:
        JournalError: the journal is damaged and cannot be checked.
    """
    running = is_locked(folder)
    events = list(read_events(folder / JOURNAL))
    state = StudyState.of(events)
    found = [*_order(events), *compare_question(events, folder).findings]
    found += [*_plan(state), *_ends(state, running)]
    found += [f"trial {trial.number}: {text}" for trial, text in contradictions(state)]
    for trial in state.trials.values():
        found += _checkpoints(folder, trial)
    if tracking and is_followed(state):
        found += audit_runs(folder, events, state, running, deleted_runs)
    return found


def _order(events: Sequence[Event]) -> Iterator[str]:
    """Order of the segments, epochs and ends of each trial."""
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
            yield f"{where}: {event.kind} after the trial ended"
        if event.kind == "segment_started":
            if number in running:
                yield f"{where}: segment {event.data['segment']} started while another one ran"
            if event.data["segment"] != segments[number]:
                yield f"{where}: segment {event.data['segment']} where {segments[number]} was expected"
            if event.data["from_epoch"] > epochs.get(number, 0):
                yield f"{where}: starts after epoch {event.data['from_epoch']}, which was never reported"
            yield from (f"{where}: {text}" for text in _repeats(event, epochs.get(number, 0)))
            segments[number] += 1
            running[number] = event.data["segment"]
            epochs[number] = event.data["from_epoch"]
        elif event.kind == "segment_placed":
            if running.get(number) != event.data["segment"]:
                yield f"{where}: a worker for segment {event.data['segment']}, which is not running"
        elif event.kind == "reported":
            if running.get(number) != event.data["segment"]:
                yield f"{where}: a report from segment {event.data['segment']}, which is not running"
            if event.data["epoch"] != epochs.get(number, 0) + 1:
                yield f"{where}: epoch {event.data['epoch']} after epoch {epochs.get(number, 0)}"
            epochs[number] = event.data["epoch"]
        elif event.kind == "segment_ended":
            if running.pop(number, None) != event.data["segment"]:
                yield f"{where}: segment {event.data['segment']} ended, which was not running"
        else:
            running.pop(number, None)
            ended.add(number)


def _repeats(started: Event, last: int) -> Iterator[str]:
    """Epochs that a segment repeats without a recorded reason; `last` is the last reported one.

    A segment repeats epochs only where the newest checkpoints could not be used. At most `KEPT`
    exist, so no more have to be named.
    """
    from karat.training.checkpoint import KEPT

    again, named = last - started.data["from_epoch"], len(started.data.get("passed_over", ()))
    if min(again, KEPT) > named:
        yield (
            f"starts again after epoch {started.data['from_epoch']}, but {last} were reported; "
            f"checkpoints skipped: {min(again, KEPT)} needed, {named} named"
        )


def _plan(state: StudyState) -> Iterator[str]:
    """Numbers of trials and seeds against the plan."""
    if not state.created:
        return
    totals: dict[Phase, int] = {
        "search": state.created["totals"]["search"],
        "shortlist": len(state.shortlists.runs) * state.fresh_seeds,
        "confirm": state.planned_runs,
    }
    for phase, planned in totals.items():
        trials = state.of_phase(phase)
        planned -= state.given_up if phase == "search" else 0
        if len(trials) > planned:
            yield f"{len(trials)} trials of phase {phase}; {planned} were planned"
        is_cut = phase == "search" and state.search_cut is not None
        if state.status == "completed" and len(trials) < planned and not is_cut:
            yield f"the study is complete with {len(trials)} of {planned} trials of phase {phase}"
    runs = Counter((t.arm, t.seed, t.budget) for t in state.of_phase("confirm"))
    for (arm, seed, _), count in runs.items():
        if count > 1:
            yield f"{arm} was confirmed {count} times with seed {seed}"
    again = Counter((cell_of(run), run.seed) for run in state.of_phase("shortlist"))
    for (cell, seed), count in again.items():
        if count > 1:
            yield f"cell {cell} of a shortlist was trained {count} times with seed {seed}"
    if used := {t.seed for t in state.of_phase("search")} & {seed for _, seed, _ in runs}:
        yield f"seeds of the search were used again for confirmation: {sorted(used)}"
    if used := {seed for _, seed in again} & {seed for _, seed, _ in runs}:
        yield f"seeds of a shortlist were used again for confirmation: {sorted(used)}"
    if used := {seed for _, seed in again} & {t.seed for t in state.of_phase("search")}:
        yield f"seeds of the search were used again for a shortlist: {sorted(used)}"


def _ends(state: StudyState, running: bool) -> Iterator[str]:
    """Trials that run, or have not ended, although the study has."""
    if state.status in ("completed", "failed"):
        for trial in state.trials.values():
            if not trial.ended:
                yield f"the study is {state.status}, but trial {trial.number} has not ended"
    for trial in state.trials.values():
        last = trial.reports[-1].epoch if trial.reports else 0
        if trial.status == "completed" and last != trial.epochs:
            yield f"trial {trial.number} is complete after epoch {last} of {trial.epochs}"
        if trial.status == "running" and state.status == "interrupted" and not running:
            yield f"trial {trial.number} is running, but the study is interrupted"


def _checkpoints(folder: Path, trial: Trial) -> Iterator[str]:
    """The weights of a completed trial, and the checkpoints from which an unfinished one resumes."""
    from karat.errors import CheckpointError
    from karat.training.checkpoint import (
        SERIES,
        epoch_of,
        load_checkpoint,
        newest_first,
    )
    from karat.training.evaluation import sha256_of_weights

    own = trial_folder(folder, trial.number)
    last = trial.reports[-1].epoch if trial.reports else 0
    known = {s: [p for p in newest_first(own, s) if epoch_of(p) <= last] for s in SERIES}
    ahead = max(map(epoch_of, newest_first(own, "epoch")), default=0)
    if ahead > last + 1:  # a worker reports each epoch before it starts the next
        yield f"trial {trial.number}: a checkpoint after epoch {ahead}, but reports only up to epoch {last}"
    wanted = []
    # A trial that is tested writes its weights at its end; before, they are in its training states.
    keeps = trial.phase != "confirm" or trial.status == "completed" or trial.tested is not None
    lost = trial.status in ("failed", "stopped") or trial.weights_dropped
    if trial.reports and keeps and not lost:
        paths = known["tested"] or ([] if trial.tested is not None else known["best"])
        wanted += paths[:1]
        if not paths:
            which = "its best epoch" if trial.tested is None else "its tested weights"
            yield f"trial {trial.number}: there is no checkpoint of {which} in {own}"
    kept = set() if trial.snapshots_dropped or trial.status == "stopped" else {*trial.snapshots}
    if lacking := sorted(kept - set(map(epoch_of, known["snapshot"]))):
        yield f"trial {trial.number}: there is no checkpoint of the kept weights of epochs {lacking} in {own}"
    wanted += known["snapshot"]
    if not trial.ended:
        if trial.reports and not known["epoch"]:
            yield f"trial {trial.number}: there is no checkpoint to resume from in {own}"
        wanted += [*known["epoch"], *(p for p in known["within"] if epoch_of(p) == last)]
    for path in wanted:
        try:
            content = load_checkpoint(path, trial.fingerprint)
        except CheckpointError as error:
            yield f"trial {trial.number}: {error}"
            continue
        tested = evaluation_of(trial) if path in known["tested"] else None
        if tested is not None and sha256_of_weights(content["model"]) != tested.weights:
            yield f"trial {trial.number}: {path}: has other weights than those that were tested"
