"""The reference arms, with which the others are compared, for each level that is confirmed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from karat.errors import InputError, nearest
from karat.parameters import EACH_ARM, Factor, Level, level_of, level_text, nearest_level, plain
from karat.space.document import SpaceData
from karat.space.settings import ConfirmConfig
from karat.space.space import Arm, Excluded


def confirmed_factor(data: SpaceData, confirm: ConfirmConfig, factors: Mapping[str, Factor]) -> str:
    """The factor whose levels are confirmed: `confirm.by`, or the only factor."""
    by = confirm.by
    if by == EACH_ARM:
        return by
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
) -> dict[Level, str]:
    """The label of the reference arm for each level of `by` that is confirmed.

    A level that only the reference arm has needs no confirmation: there is nothing to compare.
    """
    fitting = _fitting(data, arms, factors)
    others = [arm for arm in arms if arm not in fitting]
    if by == EACH_ARM:
        return _of_each(data, fitting, others, factors)
    contested = [
        level for level in factors[by].values if any(arm.factors.get(by) == level for arm in others)
    ]
    if len(fitting) == 1:
        if not contested:
            if excluded:
                at = next((key for key in excluded[0].keys if data.stands(key)), "confirm.by")
                place = data.place(data.path_of(at))
                raise InputError(f"{place}: no arm but the reference can run: {excluded[0].rule}")
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
    factors: Mapping[str, Factor],
) -> dict[Level, str]:
    """The reference of every other arm: the only one, or that with the arm's own levels.

    Of several references each is for the arms that share its levels of the factors which `reference` does not
    name: `softmax` of each size, for the arms of this size.
    """
    if not fitting:
        data.fail(("reference",), "must match an arm; no arm has all these levels")
    if not others:
        data.fail(("confirm", "by"), "there is no other arm than the reference", EACH_ARM)
    if len(fitting) == 1:
        return {arm.label: fitting[0].label for arm in others}
    named = _wanted(data, factors)
    found: dict[Level, str] = {}
    for arm in others:
        own = [each for each in fitting if _is_matched(arm, each, named)]
        if len(own) != 1:
            shown = ", ".join(each.label for each in own or fitting)
            rule = (
                f"must match one arm, or one for each other arm, with its levels of the factors that it does not "
                f"name; for {arm.label} there are {len(own)} of {shown}"
            )
            data.fail(("reference",), rule)
        found[arm.label] = own[0].label
    for each in fitting:
        if each.label not in found.values():
            rule = f"matches {each.label}, with which no other arm is compared"
            data.fail(("reference",), rule)
    return found


def _is_matched(arm: Arm, reference: Arm, named: Mapping[str, Level]) -> bool:
    """Whether an arm has the reference's levels of the factors that `reference` does not name."""
    return all(
        arm.factors.get(key) == level
        for key, level in reference.factors.items()
        if key not in named
    )


def _wanted(data: SpaceData, factors: Mapping[str, Factor]) -> dict[str, Level]:
    """The levels that `reference` requires of an arm; without it, softmax."""
    chooser = "attention.mechanism" if "attention.mechanism" in factors else "attention.basis"
    given = data.mapping(("reference",), {chooser: "softmax"})
    return {key: level_of(value) for key, value in given.items()}


def _fitting(data: SpaceData, arms: Sequence[Arm], factors: Mapping[str, Factor]) -> list[Arm]:
    """The arms that have all levels in `reference`."""
    for key, level in _wanted(data, factors).items():
        if key not in factors:
            rule = f"must be one of the factors. {nearest(key, factors)}"
            data.fail(("reference", key), rule)
        if level not in factors[key].values:
            rule = f"is not a level of this factor. {nearest_level(level, factors[key].values)}"
            data.fail(("reference", key), rule, plain(level))
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
    missing = [level_text(level) for level in factors[by].values if level not in found]
    advice = f"it matches none at {', '.join(missing)}"
    if differing:
        advice = f"add a level of {', '.join(differing)}"
    elif not fitting:
        advice = "no arm has all these levels"
        if excluded:
            advice += f"; {excluded[0].label} does not run: {excluded[0].rule}"
    shown = ", ".join(arm.label for arm in fitting[:4]) + ", ..." * (len(fitting) > 4)
    data.fail(
        ("reference",),
        f"must match one arm, or one at each level of {by}; it matches {len(fitting)}"
        f"{f' ({shown})' if fitting else ''}: {advice}",
    )
