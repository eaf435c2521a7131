"""What the confirmation of a study has found, as its plan and its report both take it: values, failures, the rule."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from karat.journal.trial import Phase, Trial
from karat.statistics.comparison import Rule
from karat.statistics.metric import Metric
from karat.statistics.sequential import looks_at

if TYPE_CHECKING:
    from karat.journal.state import StudyState


def metric_of(created: Mapping[str, Any]) -> Metric:
    """The metric of a study, from the data of `study_created`."""
    return Metric(name=created["metric"], mode=created["mode"])


def rule_of(created: Mapping[str, Any]) -> Rule:
    """What the study calls a difference, from the data of `study_created`."""
    confirm = created["confirm"]
    return Rule(
        mode=created["mode"],
        smallest_difference=confirm["smallest_difference"],
        alpha=confirm["alpha"],
        tunings=confirm.get("tunings", 1),
        worst=metric_of(created).worst,
        looks=looks_of(confirm),
    )


def looks_of(confirm: Mapping[str, Any]) -> tuple[int, ...]:
    """Seeds of an arm at which its verdict is looked at; empty where none are added."""
    top_up = confirm.get("top_up")
    if top_up is None:
        return ()
    return looks_at(confirm["seeds"], top_up["most"], top_up["step"])


def test_values(trials: Iterable[Trial], metric: Metric) -> dict[int, float]:
    """Seed index to test value of the completed runs."""
    return {
        trial.seed_index: value
        for trial in trials
        if trial.status == "completed" and (value := trial.last(metric.test)) is not None
    }


def failed_seeds(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Seed indices of the runs that failed."""
    return tuple(trial.seed_index for trial in trials if trial.status == "failed")


def is_final(state: "StudyState") -> bool:
    """Whether every planned confirmation run has ended, so that verdicts are given.

    Where seeds may be added, the study must have ended too.
    """
    if state.confirmation is None or not state.confirmation["cells"] or not state.all_planned:
        return False
    if looks_of(state.created["confirm"]) and state.status not in ("completed", "failed"):
        return False
    return sum(trial.ended for trial in state.of_phase("confirm")) >= state.planned_runs


def planned_trials(state: "StudyState") -> dict[Phase, int]:
    """The planned number of trials of each phase that has any; with the seeds that were added so far."""
    totals = state.created["totals"]
    search = totals["search"] - state.given_up
    if state.search_cut is not None:
        search = len(state.of_phase("search"))
    unplanned = totals["confirm"]
    if state.confirmation is not None:
        contests = state.confirmation["contests"]
        unplanned = 0 if contests is None else unplanned - len(contests) * state.runs_each
    again = totals.get("shortlist", 0)
    if again and state.shortlists.planned:
        waiting = again - len(state.shortlists.planned) * _runs_of_list(state)
        again = waiting + len(state.shortlists.runs) * state.fresh_seeds
    found: dict[Phase, int] = {
        "search": search,
        "shortlist": again,
        "confirm": unplanned + state.planned_runs,
    }
    return {phase: count for phase, count in found.items() if count}


def _runs_of_list(state: "StudyState") -> int:
    """Runs of a whole shortlist; a contest with fewer cells has fewer."""
    return int(state.created["confirm"].get("shortlist", 1)) * state.fresh_seeds
