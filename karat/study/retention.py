"""Which checkpoints of a study are kept, and what is given up first where its disk budget runs short."""

from pathlib import Path

from karat.journal.layout import trial_folder
from karat.journal.state import StudyState, Trial
from karat.planning.plans.confirmation import rank
from karat.space.space import Space
from karat.system.disk_quota import GB, DiskBudget
from karat.training.checkpoint import drop_half_written, keep_newest

ROOM = 0.5  # share of the disk budget above which weights are dropped


def tidy(study: Path, trial: Trial) -> None:
    """Keep the best weights of a completed trial, none of a stopped one, all of a failed one.

    Args:
        study: the study's folder.
        trial: that has ended.
    """
    folder = trial_folder(study, trial.number)
    drop_half_written(folder)
    if trial.status == "completed":
        keep_newest(folder, epoch=0, within=0, best=0 if trial.weights_dropped else 1)
    elif trial.status == "stopped":
        keep_newest(folder, epoch=0, within=0, best=0)


def to_be_dropped(space: Space, state: StudyState, study: Path) -> list[Trial]:
    """With half of the disk budget used: search trials that cannot be confirmed and still have weights.

    Args:
        space, state: of the study.
        study: its folder.
    """
    limit = space.resources.disk_gb
    if limit is None or DiskBudget(study, limit).used() < ROOM * limit * GB:
        return []
    searched = state.of_phase("search")
    kept = [each for each in searched if each.status == "completed" and not each.weights_dropped]
    by_arm: dict[str, list[Trial]] = {}
    for trial in kept:
        by_arm.setdefault(trial.arm, []).append(trial)
    best = {min(each, key=lambda t: rank(t, space)).number for each in by_arm.values()}
    return [trial for trial in kept if trial.number not in best]
