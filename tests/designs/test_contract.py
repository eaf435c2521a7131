"""Promises that every design keeps, over every name in `DESIGNS`."""

from typing import Any

import pytest

from karat.designs import DESIGNS, Crossing, Design, design_of
from karat.errors import SettingError
from karat.parameters import Factor, Level

# Settings that a design cannot do without.
NEEDED: dict[str, dict[str, Any]] = {
    "leave_one_out": {"off": {"a": 1, "b": 1, "c": 1, "d": 1}},
}


def factor(name: str, *values: Level, **when: Any) -> Factor:
    return Factor(name=name, values=values, when=when)


def crossing(*factors: Factor, **named: Level) -> Crossing:
    return Crossing(factors={each.name: each for each in factors}, named=named)


TWO_LEVELS = crossing(*(factor(name, 1, 2) for name in "abcd"), a=2, b=2, c=2, d=2)
NESTED = crossing(
    factor("a", 1, 2), factor("b", 1, 2), factor("c", 5, 6, a=(2,)), a=2, b=2, c=6
)  # fmt: skip


def made(name: str) -> Design:
    return design_of({"name": name, **NEEDED.get(name, {})})


@pytest.mark.parametrize("name", DESIGNS)
def test_combinations_are_distinct_and_have_the_factors_that_exist_in_the_order_of_the_file(
    name: str,
) -> None:
    design = made(name)
    found = list(design.combinations(TWO_LEVELS))
    assert len({repr(levels) for levels in found}) == len(found) <= design.largest(TWO_LEVELS)
    assert all(list(levels) == ["a", "b", "c", "d"] for levels in found)
    assert len({repr(sorted(levels.items())) for levels in found}) == len(found)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_reference_is_one_of_the_combinations(name: str) -> None:
    design = made(name)
    reference = design.reference(TWO_LEVELS)
    assert reference is None or reference in list(design.combinations(TWO_LEVELS))


@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "fractional"])
def test_conditions_are_obeyed_and_what_does_not_exist_makes_no_second_arm(name: str) -> None:
    off = {"leave_one_out": {"off": {"a": 1, "b": 1, "c": 5}}}.get(name, {})
    found = list(design_of({"name": name, **off}).combinations(NESTED))
    assert all(("c" in levels) == (levels["a"] == 2) for levels in found)
    assert len({repr(sorted(levels.items())) for levels in found}) == len(found)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_plan_says_in_words_what_is_run(name: str) -> None:
    first, *_ = made(name).in_words(TWO_LEVELS)
    assert len(first.split()) >= 4
    assert str(made(name)).startswith(name)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_class_says_what_it_is_in_its_first_paragraph(name: str) -> None:
    assert (DESIGNS[name].__doc__ or "").strip().partition("\n\n")[0].endswith(".")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("factorail", "design = 'factorail': unknown. did you mean 'factorial'?"),
        ({"nmae": "grid"}, "design.name: must be the name of a design"),
        (3, "design = 3: must be the name of a design"),
        ({"name": ["grid"]}, "design.name = ['grid']: must be the name of a design"),
        (
            {"name": "grid", "runs": 8},
            "design.runs = 8: does not exist: design grid has no settings beside its name",
        ),
        (
            {"name": "fractional", "resolutoin": 4},
            "design.resolutoin: unknown key. did you mean 'resolution'?",
        ),
        ({"name": "fractional", "resolution": 2}, "design.resolution = 2: must be at least 3"),
        ({"name": "fractional", "resolution": 3, "runs": 8}, "design.resolution = 3: must be omit"),
    ],
)
def test_unknown_designs_and_settings_are_refused(given: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        design_of(given)
    assert str(caught.value).startswith(message)
