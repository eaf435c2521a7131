"""The reference arms, with which the others are compared, for each level that is confirmed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from karat.attention.names import BASIS, MECHANISM, SOFTMAX
from karat.errors import InputError, nearest, shorten
from karat.parameters import EACH_ARM, Factor, Level, label_of, level_of, level_text
from karat.space.design.reading import refuse_unknown
from karat.space.document import SpaceData
from karat.space.matching.config import KEY
from karat.space.settings import ConfirmConfig
from karat.space.space import Arm, Excluded


def confirmed_factor(data: SpaceData, confirm: ConfirmConfig, factors: Mapping[str, Factor]) -> str:
    """The factor whose levels are confirmed: `confirm.by`, or the only factor."""
    by = confirm.by
    if KEY in data.data and by not in (None, EACH_ARM):
        rule = f"must be {EACH_ARM} with {KEY}: raw and matched arms are confirmed each for itself"
        data.fail(("confirm", "by"), rule, by)
    if by == EACH_ARM or KEY in data.data:
        return EACH_ARM
    if by is None and len(factors) == 1:
        by = next(iter(factors))
    if by is None or by not in factors:
        rule = (
            "must be the factor whose levels are confirmed, or `arm` to confirm each arm. "
            f"{nearest(by or '', [*factors, EACH_ARM])}"
        )
        if by is None:
            data.fail(("confirm", "by"), f"is missing; it {rule}")
        data.fail(("confirm", "by"), rule, by)
    return by


def references(
    data: SpaceData,
    arms: Sequence[Arm],
    excluded: Sequence[Excluded],
    factors: Mapping[str, Factor],
    by: str,
    wanted: Mapping[str, Level] | None = None,
) -> dict[Level, str]:
    """The label of the reference arm for each level of `by` that is confirmed.

    A level that only the reference arm has needs no confirmation: there is nothing to compare.

    Args:
        data: the space.
        arms: those that can run.
        excluded: those that cannot.
        factors: of the space.
        by: as `confirmed_factor` has it.
        wanted: the levels of the reference arm, where the design says them; None for those of `reference`.
    """
    if wanted is not None:
        fitting = [arm for arm in arms if arm.factors == wanted]
        if not fitting:
            rule = f"{label_of(wanted)} does not run{_why_not(excluded, wanted)}"
            data.fail(("reference",), rule)
    else:
        fitting = _fitting(data, arms, factors)
    others = [arm for arm in arms if arm not in fitting]
    if by == EACH_ARM:
        return _of_each(data, fitting, others, excluded, factors)
    contested = [
        level for level in factors[by].values if any(arm.factors.get(by) == level for arm in others)
    ]
    if len(fitting) == 1:
        if not contested:
            _refuse_alone(data, excluded)
            data.fail(("confirm", "by"), "exists only in the reference arm", by)
        return dict.fromkeys(contested, fitting[0].label)
    at_level = Counter(arm.factors.get(by) for arm in fitting)
    if by in _wanted(data, factors) or at_level != Counter(factors[by].values):
        _refuse(data, fitting, factors, by, excluded)
    for level in factors[by].values:
        if level not in contested:
            rule = (
                f"has only the reference arm at {level_text(level)}; remove that level, or choose "
                "another reference"
            )
            data.fail(("confirm", "by"), rule, by)
    return {level: arm.label for arm in fitting if (level := arm.factors[by]) in contested}


def _of_each(
    data: SpaceData,
    fitting: Sequence[Arm],
    others: Sequence[Arm],
    excluded: Sequence[Excluded],
    factors: Mapping[str, Factor],
) -> dict[Level, str]:
    """The reference of every other arm: the only one, or that with the arm's own levels.

    Of several references each is for the arms that share its levels of the factors which `reference` does not
    name: `softmax` of each size, for the arms of this size.
    """
    named = _wanted(data, factors)
    if not fitting:
        rule = f"must match an arm; no arm has all these levels{_why_not(excluded, named)}"
        data.fail(("reference",), rule)
    if not others:
        _refuse_alone(data, excluded)
        data.fail(("confirm", "by"), "there is no other arm than the reference", EACH_ARM)
    if len(fitting) == 1:
        return {arm.label: fitting[0].label for arm in others}
    found: dict[Level, str] = {}
    for arm in others:
        own = [each for each in fitting if _is_matched(arm, each, named)]
        if len(own) != 1:
            shown = ", ".join(each.label for each in own or fitting)
            why = "" if own else _why_not(excluded, {**arm.factors, **named})
            rule = (
                f"must match one arm, or one for each other arm, with its levels of the factors that it does not "
                f"name; for {arm.label} there are {len(own)} of {shown}{why}"
            )
            data.fail(("reference",), rule)
        found[arm.label] = own[0].label
    for each in fitting:
        if each.label not in found.values():
            shared = {key: level for key, level in each.factors.items() if key not in named}
            rule = f"matches {each.label}, with which no other arm is compared"
            data.fail(("reference",), f"{rule}{_why_not(excluded, shared)}")
    return found


def _refuse_alone(data: SpaceData, excluded: Sequence[Excluded]) -> None:
    """Refuse that no arm but the reference can run, with the reason; nothing where none is excluded.

    Raises:
        InputError: an arm is excluded.
    """
    if excluded:
        at = next((key for key in excluded[0].keys if data.stands(key)), "confirm.by")
        place = data.place(data.path_of(at))
        raise InputError(f"{place}: no arm but the reference can run: {excluded[0].rule}")


def _why_not(excluded: Sequence[Excluded], levels: Mapping[str, Level]) -> str:
    """Why an arm with these levels does not run, as the end of a rule; nothing where none is excluded.

    Levels of factors that do not exist in an excluded arm do not count.
    """
    for each in excluded:
        if all(level == levels.get(key, level) for key, level in each.factors.items()):
            return f"; {each.label} does not run: {each.rule}"
    return ""


def _is_matched(arm: Arm, reference: Arm, named: Mapping[str, Level]) -> bool:
    """Whether an arm has the reference's levels of the factors that `reference` does not name."""
    return all(
        arm.factors.get(key) == level
        for key, level in reference.factors.items()
        if key not in named
    )


def _wanted(data: SpaceData, factors: Mapping[str, Factor]) -> dict[str, Level]:
    """The levels that `reference` requires of an arm; without it, softmax."""
    given = data.data.get("reference", ...)
    if given is ...:
        choosers = (key for key in (MECHANISM, BASIS) if key in factors)
        chooser = next((key for key in choosers if SOFTMAX in factors[key].values), None)
        if chooser is None:
            rule = f"is missing, and no level is {SOFTMAX}, which would be it; write {_example(factors)}"
            data.fail(("reference",), rule)
        return {chooser: SOFTMAX}
    if not isinstance(given, dict) or not given:
        rule = f"must name levels of the factors; write {_example(factors, level_of(given))}"
        data.fail(("reference",), rule, given)
    return {key: level_of(value) for key, value in given.items()}


def _example(factors: Mapping[str, Factor], level: object = SOFTMAX) -> str:
    """A reference with this level, or else with softmax or the first level that there is."""
    found = [(key, each) for key, factor in factors.items() for each in factor.values]
    key, each = next(
        (pair for wanted in (level, SOFTMAX) for pair in found if pair[1] == wanted), found[0]
    )
    return f"{{{key}: {each if isinstance(each, str) else shorten(each)}}}"


def _fitting(data: SpaceData, arms: Sequence[Arm], factors: Mapping[str, Factor]) -> list[Arm]:
    """The arms that have all levels in `reference`."""
    if "reference" in data.data:
        _wanted(data, factors)
        refuse_unknown(data, factors)
    wanted = _wanted(data, factors).items()
    return [arm for arm in arms if all(arm.factors.get(k) == v for k, v in wanted)]


def _refuse(
    data: SpaceData,
    fitting: list[Arm],
    factors: Mapping[str, Factor],
    by: str,
    excluded: Sequence[Excluded],
) -> NoReturn:
    """Raise an error: `reference` must match one arm, or one for each level; with a remedy."""
    differing = [
        key for key in factors if key != by and len({arm.factors.get(key) for arm in fitting}) > 1
    ]
    found = {arm.factors.get(by) for arm in fitting}
    missing = [level for level in factors[by].values if level not in found]
    wanted = _wanted(data, factors)
    advice = f"it matches none at {', '.join(map(level_text, missing))}"
    if missing:
        advice += _why_not(excluded, {**wanted, by: missing[0]})
    if differing:
        advice = f"add a level of {', '.join(differing)}"
    elif not fitting:
        advice = f"no arm has all these levels{_why_not(excluded, wanted)}"
    shown = ", ".join(arm.label for arm in fitting[:4]) + ", ..." * (len(fitting) > 4)
    data.fail(
        ("reference",),
        f"must match one arm, or one at each level of {by}; it matches {len(fitting)}"
        f"{f' ({shown})' if fitting else ''}: {advice}",
    )
