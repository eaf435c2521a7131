"""The confirmation: the best cell of each level in question, and the reference, with fresh seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.plans import Proposal
from karat.space import Arm, Space
from karat.state import StudyState, Trial


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Arms of which the best found is confirmed: those with one level of the factor in question."""

    label: str
    level: Any
    arms: tuple[Arm, ...]


def contests_of(space: Space) -> list[Contest]:
    """The reference, then each level of `confirm.by` that other arms have."""
    by = space.confirm.by
    assert by is not None
    reference = space.arms[space.reference]
    contests = [Contest(label=reference.label, level=None, arms=(reference,))]
    for level in space.factors[by].values:
        arms = tuple(
            arm
            for arm in space.arms.values()
            if arm is not reference and arm.factors.get(by) == level
        )
        if arms:
            key = by.rpartition(".")[2]
            contests.append(Contest(label=f"{key}={level}", level=level, arms=arms))
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
