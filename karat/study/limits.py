"""Which arms break a constraint that is known before training, whatever is tuned; refused where nothing would be left."""

from collections.abc import Iterator, Mapping

from karat.constraints import Constraint
from karat.errors import InputError
from karat.planning.constraints import known_before, may_vary
from karat.space.arms import sections_of
from karat.space.space import Space

Broken = Mapping[str, tuple[Constraint, float]]


def never_trained(space: Space) -> Broken:
    """Label of each arm of which nothing may be trained, to the constraint that it breaks and the value.

    Only parameters and operations are looked at, and arms that may meet the constraint by a tuned value are left out.

    Raises:
        InputError: a reference arm, or every arm, may not be trained.
    """
    limits = space.search.limits
    if not limits:
        return {}
    found = {
        label: broken
        for label, arm in space.arms.items()
        if not may_vary(arm, limits)
        and (broken := known_before(limits, sections_of(space, arm), lambda _: None)) is not None
    }
    for label in space.reference_arms:
        if label in found:
            raise InputError(
                f"search.constraints: {_told(label, found)}, and it is the reference, with which others are compared; "
                "name another reference or raise the limit"
            )
    if len(found) == len(space.arms):
        first = next(iter(found))
        raise InputError(f"search.constraints: no arm may be trained; {_told(first, found)}")
    return found


def limit_lines(found: Broken) -> Iterator[str]:
    """What a plan and a launch say of these arms."""
    for label in found:
        yield f"{_told(label, found)} (search.constraints): it is not trained and not confirmed"


def _told(label: str, found: Broken) -> str:
    constraint, value = found[label]
    return f"{label} has {value:,.0f} {constraint.metric}, which breaks {constraint}"
