"""The confirmation: the best cell of each level of `confirm.by`, and its reference, with new seeds."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from karat.causes import Skip, Stop
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.parameters import EACH_ARM, Level, contest_label, level_in, level_label
from karat.planning.plans import Proposal, budgeted
from karat.space.space import Arm, Space
from karat.training.watching.config import unwatched


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Arms of which the best is confirmed: one reference, or all other arms of one level.

    Args:
        label: short and unique, for tables.
        level: of the factor `confirm.by`; None for a reference without this factor.
        arms: candidates.
        reference: label of the arm to compare the best one with; None for a reference.
        tuning: number of the tuning whose trials are the candidates, from 0.
    """

    label: str
    level: Level | None
    arms: tuple[Arm, ...]
    reference: str | None
    tuning: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The search trial whose cell is confirmed, and the values by which it was chosen, for the journal."""

    trial: Trial
    values: Mapping[str, float | None]


def contests_of(space: Space) -> list[Contest]:
    """Each reference, followed by the levels of `confirm.by` that are compared with it; by tuning."""
    if space.confirm.tunings == 1:
        return levels_of(space)
    return [
        replace(contest, label=contest_label(contest.label, tuning), tuning=tuning)
        for tuning in range(space.confirm.tunings)
        for contest in levels_of(space)
    ]


def levels_of(space: Space) -> list[Contest]:
    """The contests of the first tuning."""
    by = space.confirm.by
    assert by is not None
    compared: dict[str, list[Level]] = {}  # reference to the levels that are compared with it
    for each, name in space.references.items():
        compared.setdefault(name, []).append(each)
    others: dict[Level, list[Arm]] = {}
    for arm in space.arms.values():
        if arm.label not in compared:
            others.setdefault(level_in(by, arm.label, arm.factors), []).append(arm)
    contests = []
    for label, levels in compared.items():
        arm = space.arms[label]
        level = None if by == EACH_ARM else arm.factors.get(by)
        contests.append(Contest(label=label, level=level, arms=(arm,), reference=None))
        for each in levels:
            arms = tuple(others.get(each, ()))
            name = level_label(by, each)
            contests.append(Contest(label=name, level=each, arms=arms, reference=label))
    return contests


def settled_contests(contests: Iterable[Contest], state: StudyState) -> list[Contest]:
    """The contests to plan now: not planned yet, and all search trials of their arms have ended.

    Args:
        contests: of the study, whose search asks for no more trials.
        state: of the study.
    """
    open_trials = (state.trials[number] for number in state.unended)
    busy = {
        (trial.arm, trial.tuning)
        for trial in open_trials
        if trial.phase == "search" and not trial.set_aside
    }
    return [
        contest
        for contest in contests
        if not state.is_planned(contest.label)
        and busy.isdisjoint((arm.label, contest.tuning) for arm in contest.arms)
    ]


def finished_of(contest: Contest, state: StudyState) -> list[Trial]:
    """The completed search trials of a contest."""
    return [trial for trial in searched_of(contest, state) if trial.status == "completed"]


def searched_of(contest: Contest, state: StudyState) -> list[Trial]:
    """The search trials of a contest."""
    labels = {arm.label for arm in contest.arms}
    return [
        trial
        for trial in state.of_phase("search")
        if trial.arm in labels and trial.tuning == contest.tuning
    ]


def plan_confirmation(
    space: Space,
    state: StudyState,
    contests: Sequence[Contest],
    choose: Callable[[Contest], Choice | None] | None = None,
) -> dict[str, list[Any]]:
    """The cells to confirm, and the skipped contests with causes, as data of `confirmation_planned`.

    The best trial of a contest has the best metric at full length; ties go to the lower validation
    loss. Trials that were stopped early never win. An extended study is planned again: trials of a
    cell that is confirmed again count, those of other cells are set aside.

    Args:
        space, state: of the study.
        contests: those to plan now.
        choose: picks the cell of a contest; None if none can be confirmed. Without it the best
            trial is picked.
    """
    cells, skipped = [], []
    for contest in contests:
        finished = finished_of(contest, state)
        if not finished:
            skipped.append({"label": contest.label, **_why_none(contest, state)})
            continue
        if choose is None:
            best = best_of(finished, space)
            choice: Choice | None = Choice(best, {"value": best.last(space.search.metric)})
        else:
            choice = choose(contest)
        if choice is None:
            skipped.append({"label": contest.label, "cause": Skip.NONE_REPEATED.value})
            continue
        best = choice.trial
        cells.append(
            {
                "arm": best.arm,
                "level": contest.level,
                "trial": best.number,
                "tuned": dict(best.tuned),
                "config": best.config,
                **choice.values,
                **({"tuning": contest.tuning} if contest.tuning else {}),
            }
        )
    again: dict[tuple[Any, Any], Any] = {
        (cell["arm"], cell.get("tuning", 0)): cell["config"] for cell in cells
    }
    arms = {(arm.label, contest.tuning) for contest in contests for arm in contest.arms}
    aside = [
        trial.number
        for trial in state.of_phase("confirm")
        if (key := (trial.arm, trial.tuning)) in arms
        and (
            key not in again
            or unwatched(budgeted(again[key], trial.budget)) != unwatched(trial.config)
        )
    ]
    return {
        "contests": [contest.label for contest in contests],
        "cells": cells,
        "skipped": skipped,
        **({"set_aside": aside} if aside else {}),
    }


def _why_none(contest: Contest, state: StudyState) -> dict[str, Any]:
    """Cause and details of a contest without a completed search trial."""
    searched, labels = searched_of(contest, state), {arm.label for arm in contest.arms}
    given_up = sum(
        each.given_up and each.arm in labels and each.tuning == contest.tuning
        for each in state.ruled_out
    )
    stopped = given_up + sum(trial.cause == Stop.CONSTRAINT for trial in searched)
    if not stopped:
        return {"cause": Skip.NONE_COMPLETED.value}
    details = {"stopped": stopped, "of": given_up + len(searched)}
    return {"cause": Skip.NONE_ALLOWED.value, "details": details}


def confirmation_proposal(space: Space, state: StudyState) -> Proposal | None:
    """The next trial of the planned cells: all with one seed, then the next seed; None at the end."""
    cells = state.confirmation["cells"] if state.confirmation else ()
    confirm = space.confirm
    seeds = {cell["arm"]: state.seeds_of(cell["arm"]) for cell in cells}
    each = itertools.product(range(max(seeds.values(), default=0)), cells, confirm.budgets)
    for index, cell, budget in each:
        if index >= seeds[cell["arm"]]:
            continue
        tuning = cell.get("tuning", 0)
        seed_index = index * confirm.tunings + tuning
        if (cell["arm"], seed_index, budget) not in state.confirmed:
            return Proposal(
                arm=space.arms[cell["arm"]],
                tuned=cell["tuned"],
                seed_index=seed_index,
                tuning=tuning,
                budget=budget,
            )
    return None


def best_of(trials: Iterable[Trial], space: Space) -> Trial:
    """The best of completed search trials, of which there is at least one."""
    return min(trials, key=lambda trial: rank(trial, space))


def rank(trial: Trial, space: Space) -> tuple[float, float, int]:
    """Sort key of a completed search trial; the lowest is the best."""
    value = trial.last(space.search.metric)
    assert value is not None
    loss = trial.last("val_loss")
    assert loss is not None
    return (-value if space.search.mode == "max" else value, loss, trial.number)


def totals_after_search(space: Space) -> dict[str, int]:
    """The planned number of trials of each phase after the search; a phase without any is left out."""
    contests, confirm = len(contests_of(space)), space.confirm
    again = contests * confirm.shortlist_runs
    return {**({"shortlist": again} if again else {}), "confirm": contests * confirm.runs_each}
