"""Which weights a study keeps on disk, and which it drops to make room."""

from collections.abc import Sequence

from karat.journal.state import Trial

ROOM = 0.5  # share of the disk budget above which weights are dropped


def by_arm(trials: Sequence[Trial]) -> list[list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.arm, []).append(trial)
    return list(groups.values())
