"""The shortlist of a contest: its best cells of the search are trained again with fresh seeds, then one is chosen.

The best value of a search is high partly by luck. Values of the fresh runs are not selected, so that the mean
by which a cell is chosen here is that of its runs and of nothing else.
"""

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from karat.journal.shortlists import cell_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.plans import Proposal
from karat.planning.plans.confirmation import (
    Choice,
    Contest,
    finished_of,
    plan_confirmation,
    rank,
    settled_contests,
)
from karat.space.space import Space


def due_plan(
    space: Space, state: StudyState, contests: Sequence[Contest]
) -> tuple[str, dict[str, Any]] | None:
    """The plan that is due after the search, as kind and data of its event; None if none is.

    A contest's shortlist is planned once its own search has ended, and its confirmation once all runs of
    the shortlist have ended; without a shortlist at once.

    Args:
        space, state: of the study, whose search asks for no more trials.
        contests: all of them.
    """
    settled = settled_contests(contests, state)
    if space.confirm.shortlist == 1:
        if settled:
            return "confirmation_planned", plan_confirmation(space, state, settled)
        return None
    if new := [each for each in settled if each.label not in state.shortlists.planned]:
        return "shortlist_planned", plan_shortlists(space, state, new)
    if done := [each for each in settled if _is_done(each, space, state)]:
        choose = partial(chosen_of, space=space, state=state)
        return "confirmation_planned", plan_confirmation(space, state, done, choose)
    return None


def plan_shortlists(
    space: Space, state: StudyState, contests: Sequence[Contest]
) -> dict[str, list[Any]]:
    """The search trials whose cells are trained again, as data of `shortlist_planned`; the best ones first.

    Trials that were stopped early are on no shortlist. A cell that the search has tried several times is
    there once, by its best trial. An extended study is planned again: runs of a cell that is on the
    shortlist again count, those of other cells are set aside.

    Args:
        space, state: of the study.
        contests: those to plan now.
    """
    planned, listed = [], set()
    for contest in contests:
        trials = best_cells(finished_of(contest, state), space)
        listed |= {cell_of(trial) for trial in trials}
        planned.append({"label": contest.label, "trials": [trial.number for trial in trials]})
    arms = {(arm.label, contest.tuning) for contest in contests for arm in contest.arms}
    aside = [
        run.number
        for run in state.of_phase("shortlist")
        if (run.arm, run.tuning) in arms and cell_of(run) not in listed
    ]
    return {"contests": planned, **({"set_aside": aside} if aside else {})}


def best_cells(trials: Sequence[Trial], space: Space) -> list[Trial]:
    """The best trial of each of the best cells, as many as a shortlist has, the best first.

    Args:
        trials: completed ones of the search.
        space: of the study.
    """
    found: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda each: rank(each, space)):
        found.setdefault(cell_of(trial), trial)
    return list(found.values())[: space.confirm.shortlist]


def shortlist_proposal(
    space: Space, state: StudyState, contests: Sequence[Contest]
) -> Proposal | None:
    """The next run of the planned shortlists: all cells with one seed, then the next seed; None at the end.

    Args:
        space, state: of the study.
        contests: all of them. Their order, and not that of the plans, is the order of the runs: a launch
            that resumes the study may plan some contests earlier than one that went on would have.
    """
    confirm, shortlists = space.confirm, state.shortlists
    for index in range(confirm.fresh_seeds):
        for contest in contests:
            for number in shortlists.planned.get(contest.label, ()):
                cell = state.trials[number]
                seed_index = index * confirm.tunings + cell.tuning
                if any(run.seed_index == seed_index for run in shortlists.runs[number]):
                    continue
                return Proposal(
                    arm=space.arms[cell.arm],
                    tuned=cell.tuned,
                    seed_index=seed_index,
                    tuning=cell.tuning,
                )
    return None


def chosen_of(contest: Contest, space: Space, state: StudyState) -> Choice | None:
    """The cell to confirm, by its fresh runs; None if none of them was completed.

    The one with the fewest failed runs, since a failed run is an outcome; of these, the one with the best
    mean over its completed runs. Ties go to the lower mean validation loss, then to the better one in the
    search.

    Args:
        contest: whose shortlist has ended.
        space, state: of the study.
    """
    metric = space.search.metric
    sign = -1 if space.search.mode == "max" else 1
    known: list[tuple[tuple[int, float, float], int, float]] = []
    for number, runs in state.shortlists.cells(contest.label).items():
        done = [run for run in runs if run.status == "completed"]
        if done:
            value, loss = mean_of(done, metric), mean_of(done, "val_loss")
            known.append(((len(runs) - len(done), sign * value, loss), number, value))
    if not known:
        return None
    _, number, value = min(known, key=lambda each: each[0])  # the first of equals
    best = state.trials[number]
    return Choice(best, {"value": value, "search_value": best.last(metric)})


def mean_of(runs: Sequence[Trial], metric: str) -> float:
    """The mean of a metric over completed runs, at their last epoch."""
    values = [value for run in runs if (value := run.last(metric)) is not None]
    assert len(values) == len(runs)
    return statistics.fmean(values)


def _is_done(contest: Contest, space: Space, state: StudyState) -> bool:
    """Whether all runs of a contest's shortlist were asked for and have ended."""
    return all(
        len(runs) == space.confirm.fresh_seeds and all(run.ended for run in runs)
        for runs in state.shortlists.cells(contest.label).values()
    )
