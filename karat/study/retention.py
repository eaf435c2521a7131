"""Which checkpoints of a study are kept, and which are deleted first when its disk budget runs low."""

from collections.abc import Iterator
from pathlib import Path

from karat.journal.layout import trial_folder
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.plans.shortlist import best_cells
from karat.space.space import Space
from karat.system.disk_quota import GB, DiskBudget
from karat.training.checkpoint import (
    drop_half_written,
    drop_snapshots,
    keep_newest,
    newest_first,
    snapshots,
)

ROOM = 0.5  # share of the disk budget above which weights are dropped
ROOM_OF_SNAPSHOTS = 0.8  # and above which those of epochs are


def tidy(study: Path, trial: Trial) -> None:
    """Delete checkpoints of a trial that has ended.

    A completed trial keeps the weights that were tested, or its best ones if none were, and those of
    `training.keep_checkpoints`; a stopped one nothing, a failed one everything (to find the error).

    Args:
        study: folder of the study.
        trial: must have ended.
    """
    folder = trial_folder(study, trial.number)
    drop_half_written(folder)
    if trial.status == "completed":
        # Confirmation runs of older versions kept their best weights, and not the tested ones.
        best = 0 if trial.weights_dropped or newest_first(folder, "tested") else 1
        keep_newest(folder, epoch=0, within=0, best=best, tested=1)
    elif trial.status == "stopped":
        keep_newest(folder, epoch=0, within=0, best=0, tested=0, snapshot=0)
    if trial.snapshots_dropped:
        drop_snapshots(folder)


def making_room(
    space: Space, state: StudyState, study: Path, *, is_full: bool = False
) -> Iterator[tuple[str, list[Trial]]]:
    """What is deleted to free space, as the kind of its event and the trials; the caller does it before it goes on.

    First the weights of trials that cannot be confirmed, then those of epochs that confirmation runs kept, run by run:
    with more than `ROOM_OF_SNAPSHOTS` of the disk budget used, or all of them if a file did not fit. Weights that were
    tested are never deleted.

    Args:
        space, state: of the study.
        study: folder of the study.
        is_full: whether a checkpoint could not be written.
    """
    if dropped := to_be_dropped(space, state, study):
        yield "weights_dropped", dropped
    limit = space.resources.disk_gb
    if limit is None:
        return
    for trial in state.of_phase("confirm"):
        if not trial.ended or trial.snapshots_dropped:
            continue
        if not is_full and DiskBudget(study, limit).used() < ROOM_OF_SNAPSHOTS * limit * GB:
            return
        if snapshots(trial_folder(study, trial.number)):
            yield "snapshots_dropped", [trial]


def to_be_dropped(space: Space, state: StudyState, study: Path) -> list[Trial]:
    """Trials of search and shortlists whose weights are deleted to free space; empty while enough is free.

    With more than `ROOM` of the disk budget used, only the best trials of the search keep their weights:
    of each tuning of an arm as many as a shortlist has, or the one whose cell is confirmed once that is
    known. No other one can be confirmed.

    Args:
        space, state: of the study.
        study: folder of the study.
    """
    limit = space.resources.disk_gb
    if limit is None or DiskBudget(study, limit).used() < ROOM * limit * GB:
        return []
    trials = [*state.of_phase("search"), *state.of_phase("shortlist")]
    kept = [each for each in trials if each.status == "completed" and not each.weights_dropped]
    by_tuning: dict[tuple[str, int], list[Trial]] = {}
    for trial in kept:
        if trial.phase == "search":
            by_tuning.setdefault((trial.arm, trial.tuning), []).append(trial)
    cells = state.confirmation["cells"] if state.confirmation else ()
    confirmed = {(cell["arm"], cell.get("tuning", 0)): cell["trial"] for cell in cells}
    wanted = {
        number
        for key, each in by_tuning.items()
        for number in (
            [confirmed[key]]
            if key in confirmed
            else [trial.number for trial in best_cells(each, space)]
        )
    }
    return [trial for trial in kept if trial.number not in wanted]
