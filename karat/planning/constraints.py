"""What breaks a constraint of the search: reports, and configurations before they are trained."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from karat.constraints import MACS, MEMORY, OF_CONFIGURATION, PARAMETERS, Constraint, broken
from karat.parameters import changes_size
from karat.planning.data_place import sections_at
from karat.space.space import Arm, Space
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial

Sections = Mapping[str, Mapping[str, Any]]
MemoryOf = Callable[[Sections], float | None]


def known_before(
    limits: Iterable[Constraint], sections: Sections, memory_of: MemoryOf
) -> tuple[Constraint, float] | None:
    """The first constraint that a configuration breaks whatever its training does, and the value; None if it breaks none.

    Args:
        limits: constraints on what is known before training.
        sections: of the configuration, with the data where it lies now.
        memory_of: forecast of a process's peak memory in units of 2^20 bytes; None where there is none, and then it is
            not looked at.
    """
    limits = tuple(limits)
    names = {each.metric for each in limits}
    values: dict[str, float] = {}
    if names & {PARAMETERS, MACS}:
        costs = costs_of_trial(TrialConfig.from_sections(sections))
        values |= {PARAMETERS: costs.parameters, MACS: costs.forward_flops}
    if MEMORY in names and (memory := memory_of(sections)) is not None:
        values[MEMORY] = memory
    return broken(limits, values)


def costs_for(
    space: Space, proposal: Mapping[str, Any], place: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """What `trial_asked` says of the model of a proposal: where a goal is about that, or where it differs within the arm.

    Args:
        space, proposal, place: as in `broken_by`.
    """
    is_goal = any(goal.metric in OF_CONFIGURATION for goal in space.search.goals)
    if not is_goal and not may_vary(space.arms[proposal["arm"]], ()):
        return {}
    costs = costs_of_trial(TrialConfig.from_sections(sections_at(proposal["config"], place)))
    return {"costs": {PARAMETERS: costs.parameters, MACS: costs.forward_flops}}


def broken_by(
    space: Space, proposal: Mapping[str, Any], place: Mapping[str, Any], memory_of: MemoryOf
) -> tuple[Constraint, float] | None:
    """`known_before` of a proposal (`Decisions.proposal`), which only in the search may break a constraint.

    Args:
        space: of the study.
        proposal: of a trial.
        place: of the data now (`karat.planning.data_place`).
        memory_of: as there.
    """
    limits = space.search.limits
    if not limits or proposal["phase"] != "search":
        return None
    return known_before(limits, sections_at(proposal["config"], place), memory_of)


def may_vary(arm: Arm, limits: Iterable[Constraint]) -> bool:
    """Whether what the limits are about may differ between configurations of an arm."""
    if any(each.metric == MEMORY for each in limits):
        return bool(arm.tuned)
    return any(map(changes_size, arm.tuned))


def violation(space: Space, epoch: int, metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """Details of `Stop.CONSTRAINT` if an epoch's metrics break a constraint; None if they do not.

    Args:
        space: of the study.
        epoch: epochs done.
        metrics: of the report.
    """
    found = broken(space.search.conditions, metrics)
    if found is None:
        return None
    constraint, value = found
    return {
        "epoch": epoch,
        "metric": constraint.metric,
        "value": value,
        "relation": constraint.relation,
        "limit": constraint.limit,
    }
