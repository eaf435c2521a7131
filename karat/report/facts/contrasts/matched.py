"""Every arm as it is and at the cost of its reference: how well the cost was matched, and both differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karat.journal.state import StudyState
from karat.report.facts.confirmed import ConfirmedArm
from karat.settings import build
from karat.space.matching.config import KEY, Cost, MatchConfig

_COUNTED = {"parameters": "parameters", "macs": "flops"}  # where the journal has them, of each arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an arm costs, beside its reference.

    Args:
        cost: of the arm.
        target: cost of its reference, above 0.
    """

    cost: float
    target: float

    @property
    def deviation(self) -> float:
        """By which the arm costs more, as a share of its reference's cost; negative for less."""
        return self.cost / self.target - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedArm:
    """An arm with its matched arm.

    Args:
        label, against: of the arm as it is, and of its reference.
        changes: of the matched arm: full name of a setting to its value; empty where the arm costs the same as it is.
        raw, matched: costs of both; the same where nothing is changed.
        of_raw, of_matched: as they were confirmed; None where they were not.
    """

    label: str
    against: str
    changes: Mapping[str, int]
    raw: Price
    matched: Price
    of_raw: ConfirmedArm | None
    of_matched: ConfirmedArm | None

    @property
    def is_as_it_is(self) -> bool:
        """Whether the arm costs the same as its reference without any change."""
        return not self.changes


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchFacts:
    """The matched cost of a study.

    Args:
        by: the cost.
        within: largest deviation that the question allows, as a share.
        arms: all but the references, in the order of the space.
    """

    by: Cost
    within: float
    arms: tuple[MatchedArm, ...]


def match_facts(state: StudyState, confirmed: Sequence[ConfirmedArm]) -> MatchFacts | None:
    """How the cost of each arm was matched; None where the question does not ask for it."""
    given = state.created["space"].get(KEY)
    if given is None:
        return None
    config = build(MatchConfig, given, KEY)
    described = {arm["label"]: arm for arm in state.created["arms"]}
    by_raw = {arm["raw"]: arm["label"] for arm in described.values() if "raw" in arm}
    known = {arm.label: arm for arm in confirmed}
    found = []
    for label in described:
        against = state.references.get(label)
        if against is None or "raw" in described[label]:
            continue
        own = by_raw.get(label, label)
        raw, matched, target = (_cost(config, described[each]) for each in (label, own, against))
        found.append(
            MatchedArm(
                label=label,
                against=against,
                changes=_changes(config, label),
                raw=Price(cost=raw, target=target),
                matched=Price(cost=matched, target=target),
                of_raw=known.get(label),
                of_matched=known.get(own),
            )
        )
    return MatchFacts(by=config.by, within=config.tolerance, arms=tuple(found))


def _cost(config: MatchConfig, arm: Mapping[str, Any]) -> float:
    """As it was counted, or measured when the study began."""
    if config.by in _COUNTED:
        return float(arm[_COUNTED[config.by]])
    return float((config.costs or {})[arm["label"]])


def _changes(config: MatchConfig, label: str) -> dict[str, Any]:
    return dict(config.chosen.get(label, {}))
