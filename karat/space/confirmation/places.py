"""Arms on several data sets or in several models: each is compared with its reference there, or refused."""

from collections.abc import Iterable, Mapping

from karat.parameters import DATA_SETS, Level, places_in, plain
from karat.space.document import SpaceData
from karat.space.space import Arm, Space


def check_places(data: SpaceData, space: Space) -> None:
    """Refuse a comparison of values on different data sets, which says nothing about the arms.

    Models may be compared: a factor `model.name` alone is a question about models.

    Args:
        data: the space, for messages.
        space: as it was read; `confirm.by` is known.

    Raises:
        InputError: names two arms, and what would be right.
    """
    factors = [key for key in space.factors if key in DATA_SETS]
    if not factors:
        return
    for level, label in space.references.items():
        reference = space.arms[label]
        for arm in _of_level(space, level):
            key = _first_other(arm, reference, factors)
            if key is None:
                continue
            rule = (
                f"{arm.label} would be compared with {label}, on other data: let the reference leave {', '.join(factors)} "
                f"open, as {_example(space)}, with `confirm: {{by: arm}}`"
            )
            at = ("reference",) if "reference" in data.data else ("confirm", "by")
            data.fail(at, rule)


def _of_level(space: Space, level: Level) -> Iterable[Arm]:
    """The arms that are compared with the reference of a level."""
    by = str(space.confirm.by)
    others = (arm for arm in space.arms.values() if arm.label not in space.reference_arms)
    return [arm for arm in others if level in (arm.label, arm.factors.get(by))]


def _first_other(arm: Arm, reference: Arm, factors: Iterable[str]) -> str | None:
    """The first factor of the data in which two arms differ; None if they are on the same data."""
    return next((k for k in factors if arm.factors.get(k) != reference.factors.get(k)), None)


def _example(space: Space) -> str:
    """A reference by the levels of the present one that say nothing of data."""
    levels: Mapping[str, Level] = space.arms[space.reference_arms[0]].factors
    places = places_in(space.factors)
    told = [f"{key}: {plain(level)}" for key, level in levels.items() if key not in places]
    return f"`reference: {{{', '.join(told) or 'attention.basis: softmax'}}}`"
