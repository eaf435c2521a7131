"""Arms that would differ in more than the factors: where they are refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from karat.attention.mechanisms import MECHANISMS
from karat.attention.names import FOR_ALL, mechanism_of, settings_of
from karat.parameters import Tuned
from karat.space.document import SpaceData
from karat.space.space import Arm


def check_comparable(data: SpaceData, arms: Sequence[Arm], tuned: Mapping[str, Tuned]) -> None:
    """Refuse a setting that changes some arms beside their mechanism, where it is lacking or without effect.

    A level of a factor stands in the label of its arm, so that a factor may exist in some arms alone. A fixed or
    a tuned value does not, so that every arm must have it.

    Args:
        data: the space, for messages.
        arms: all of them.
        tuned: all tuned parameters.

    Raises:
        InputError: it is refused.
    """
    for name in FOR_ALL:
        key = f"attention.{name}"
        changed = [arm for arm in arms if False in _values(arm, key, tuned)]
        if changed:
            _refuse_lacking(data, arms, changed, name)
            _refuse_idle(data, changed, name)


def _values(arm: Arm, key: str, tuned: Mapping[str, Tuned]) -> tuple[Any, ...]:
    """What an arm has of a truth value: its level, its fixed value, or all values that are tuned."""
    if key in arm.tuned:
        return tuned[key].values or ()
    return (arm.sections["attention"].get(key.partition(".")[2]),)


def _refuse_lacking(
    data: SpaceData, arms: Sequence[Arm], changed: Sequence[Arm], name: str
) -> None:
    """Refuse a fixed or tuned value that other arms lack."""
    key = f"attention.{name}"
    unsaid = [arm for arm in changed if key not in arm.factors and _uses_scores(arm)]
    lacking = [arm for arm in arms if name not in settings_of(arm.sections["attention"])]
    if unsaid and lacking:
        rule = (
            f"{lacking[0].label} does not have it and {FOR_ALL[name]}, so that {unsaid[0].label} would differ from it "
            f"in more than the factors; make it a factor, `{key}: [true, false]`, which exists where a mechanism has "
            f"it, or use only mechanisms that have it"
        )
        data.fail(data.path_of(key), rule, *_shown(data, name))


def _refuse_idle(data: SpaceData, changed: Sequence[Arm], name: str) -> None:
    """Refuse queries and keys at zero where no scores are computed: as a factor in any arm, else in all."""
    key = f"attention.{name}"
    idle = [arm for arm in changed if not _uses_scores(arm)]
    is_said = [arm for arm in idle if key in arm.factors or key in arm.tuned]
    if is_said or len(idle) == len(changed):
        mechanism = mechanism_of((is_said or idle)[0].sections["attention"])
        having = [mechanism_of(arm.sections["attention"]) for arm in changed if _uses_scores(arm)]
        named = ", ".join(map(str, dict.fromkeys(having)))
        remedy = f"add `when: {{attention.mechanism: [{named}]}}`" if having else "leave it out"
        rule = (
            f"false has no effect with {mechanism}, which reads neither queries nor keys; {remedy}"
        )
        data.fail(data.path_of(key), rule)


def _shown(data: SpaceData, name: str) -> tuple[object, ...]:
    """The fixed value for a message; nothing for one that is tuned."""
    fixed = data.mapping(("attention",), {})
    return (fixed[name],) if name in fixed else ()


def _uses_scores(arm: Arm) -> bool:
    """Whether any converted block reads queries and keys: by the mechanism, or in heads that keep softmax."""
    attention = arm.sections["attention"]
    is_whole = attention.get("heads", "all") == "all" and "attention.heads" not in arm.tuned
    return not is_whole or MECHANISMS[str(mechanism_of(attention))].uses_scores
