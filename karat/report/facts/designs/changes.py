"""What each change of one factor gives, of designs that vary one at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from karat.designs import design_of
from karat.parameters import label_of
from karat.statistics.comparison import Comparison

if TYPE_CHECKING:  # a chapter of the summary, which has them
    from karat.report.facts.confirmed import ConfirmedArm

ONE_AT_A_TIME = ("one_factor", "leave_one_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One arm beside the reference.

    Args:
        arm: its label.
        factor: full name of the factor that was changed: the first that differs.
        before, after: labels of what is changed; with the parameters that exist on one side alone.
        comparison: of the arm with the reference, as it is in the results.
    """

    arm: str
    factor: str
    before: str
    after: str
    comparison: Comparison


def changes_of(source: Mapping[str, Any], arms: Sequence["ConfirmedArm"]) -> tuple[Change, ...]:
    """The changes by factor, in the order of the space; none where the design varies several factors at once.

    Args:
        source: data of the space.
        arms: the confirmed arms in the order of the space.
    """
    if design_of(source.get("design")).name not in ONE_AT_A_TIME:
        return ()
    reference = next((arm for arm in arms if arm.is_reference), None)
    if reference is None:
        return ()
    found = [
        change_between(reference, arm, arm.comparison) for arm in arms if arm.comparison is not None
    ]
    order = list(source["factors"])
    return tuple(sorted(found, key=lambda each: order.index(each.factor)))


def change_between(one: "ConfirmedArm", two: "ConfirmedArm", comparison: Comparison) -> Change:
    """What differs between two arms."""
    before = {k: v for k, v in one.factors.items() if two.factors.get(k) != v}
    after = {k: v for k, v in two.factors.items() if one.factors.get(k) != v}
    return Change(
        arm=two.label,
        factor=next(iter({**before, **after})),
        before=label_of(before) or "without",
        after=label_of(after) or "without",
        comparison=comparison,
    )
