"""How a study stands, found in a hundredth of the time that all its facts take: for lists of studies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.errors import JournalError
from karat.journal.outcomes import is_final, metric_of, planned_trials, rule_of
from karat.journal.state import StudyState
from karat.journal.trial import Phase
from karat.report.facts.confirmed import ConfirmedArm, confirmed_arms, headline_of
from karat.report.facts.lengths import of_budget
from karat.report.facts.search_summary import by_arm
from karat.statistics.metric import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a study is, and its result; the same as in `Summary`, which has everything else too.

    Args:
        name: of the study.
        status: of the study; `cause` and `details` say why it is interrupted or has failed.
        metric, by, is_matched: as in `Summary`.
        ended, planned: number of trials of each phase that has any.
        is_final: whether verdicts are given.
        arms: the confirmed arms; empty before verdicts are given.
        began_at, ended_at: seconds since the epoch; None while the study has no end.
    """

    name: str
    status: str
    cause: str
    details: Mapping[str, Any]
    metric: Metric
    by: str
    is_matched: bool
    ended: Mapping[Phase, int]
    planned: Mapping[Phase, int]
    is_final: bool
    arms: tuple[ConfirmedArm, ...]
    began_at: float
    ended_at: float | None

    @property
    def others(self) -> tuple[ConfirmedArm, ...]:
        """The confirmed arms but the references."""
        return tuple(arm for arm in self.arms if not arm.is_reference)

    @property
    def headline(self) -> ConfirmedArm | None:
        """The arm that the answer is about, as in `Summary`."""
        return None if self.is_matched else headline_of(self.others, self.metric)


def standing_of(state: StudyState) -> Standing:
    """How a study stands; `state` may be of the events of `read_ends`.

    Raises:
        JournalError: the journal does not even say what the question is.
    """
    created = state.created
    if not created:
        raise JournalError("the journal is empty: no study was created in it")
    metric, final = metric_of(created), is_final(state)
    arms: tuple[ConfirmedArm, ...] = ()
    if final:
        runs = of_budget(by_arm(state.of_phase("confirm")), state.longest)
        arms = confirmed_arms(state, runs, metric, rule_of(created))
    planned = planned_trials(state)
    return Standing(
        name=created["name"],
        status=state.status,
        cause=state.cause,
        details=state.details,
        metric=metric,
        by=created["confirm"]["by"],
        is_matched=len(state.reference_arms) > 1,
        ended={phase: sum(trial.ended for trial in state.of_phase(phase)) for phase in planned},
        planned=planned,
        is_final=final,
        arms=arms,
        began_at=state.created_at,
        ended_at=state.ended_at,
    )
