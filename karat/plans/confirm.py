"""The confirmation: the best cell of each level in question, and its reference, with fresh seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.levels import Level, level_text
from karat.plans import Proposal
from karat.space import Arm, Space
from karat.state import StudyState, Trial


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Arms of which the best found is confirmed: a reference, or all others of one level.

    Args:
        label: short and unique, for tables.
        level: of the factor in question; None where a reference does not have it.
        arms: among which the best is found.
        reference: label of the arm that the best is compared with; None for a reference.
    """

    label: str
    level: Level | None
    arms: tuple[Arm, ...]
    reference: str | None


def contests_of(space: Space) -> list[Contest]:
    """Each reference, followed by the levels of `confirm.by` that are compared with it."""
    by = space.confirm.by
    assert by is not None
    others = [arm for arm in space.arms.values() if arm.label not in space.reference_arms]
    contests = []
    for label in space.reference_arms:
        arm = space.arms[label]
        level = arm.factors.get(by)
        contests.append(Contest(label=label, level=level, arms=(arm,), reference=None))
        for level in (each for each, name in space.references.items() if name == label):
            arms = tuple(arm for arm in others if arm.factors.get(by) == level)
            name = f"{by.rpartition('.')[2]}={level_text(level)}"
            contests.append(Contest(label=name, level=level, arms=arms, reference=label))
    return contests


def plan_confirmation(space: Space, state: StudyState) -> dict[str, list[dict[str, Any]]]:
    """The cells to confirm, and what was skipped and why, as the journal keeps them.

    The best trial is the one with the best metric at full length; on a tie the one with the
    lower validation loss. Trials that were stopped early never win.
    """
    cells, skipped = [], []
    for contest in contests_of(space):
        labels = {arm.label for arm in contest.arms}
        finished = [
            trial
            for trial in state.of_phase("search")
            if trial.arm in labels and trial.status == "completed"
        ]
        if not finished:
            reason = "no trial of it finished the search"
            skipped.append({"label": contest.label, "reason": reason})
            continue
        best = min(finished, key=lambda trial: _rank(trial, space))
        cells.append(
            {
                "arm": best.arm,
                "level": contest.level,
                "trial": best.number,
                "tuned": dict(best.tuned),
                "config": best.config,
                "value": best.last(space.search.metric),
            }
        )
    return {"cells": cells, "skipped": skipped}


def confirmation_proposal(
    space: Space, confirmation: Mapping[str, Any], index: int
) -> Proposal | None:
    """The confirmation's trial `index`, from 0: seed by seed, all cells; None after the last."""
    cells = confirmation["cells"]
    seed_index, place = divmod(index, len(cells)) if cells else (space.confirm.seeds, 0)
    if seed_index >= space.confirm.seeds:
        return None
    cell = cells[place]
    return Proposal(arm=space.arms[cell["arm"]], tuned=cell["tuned"], seed_index=seed_index)


def _rank(trial: Trial, space: Space) -> tuple[float, float, int]:
    value = trial.last(space.search.metric)
    assert value is not None
    loss = trial.last("val_loss")
    assert loss is not None
    return (-value if space.search.mode == "max" else value, loss, trial.number)
