"""The arms of `one_factor` and `leave_one_out`, where they are known."""

from typing import Any

import pytest

from karat.designs import Crossing, design_of
from karat.errors import SettingError
from karat.parameters import label_of
from tests.designs.test_contract import crossing, factor

THREE = (factor("a", "x", "y", "z"), factor("b", 1, 2), factor("c", 0, 0.5))


def labels(of: Crossing, given: Any) -> list[str]:
    return [label_of(levels) for levels in design_of(given).combinations(of)]


def test_one_factor_varies_each_from_the_reference_alone() -> None:
    of = crossing(*THREE, a="y", b=1, c=0.5)
    assert labels(of, "one_factor") == [
        "y b=1 c=0.5",
        "x b=1 c=0.5",
        "z b=1 c=0.5",
        "y b=2 c=0.5",
        "y b=1 c=0",
    ]


def test_a_factor_that_exists_at_a_varied_level_only_is_varied_there() -> None:
    of = crossing(factor("a", "x", "y"), factor("g", 1, 3, a=("y",)), factor("b", 1, 2), a="x", b=1)
    assert labels(of, "one_factor") == ["x b=1", "y g=1 b=1", "y g=3 b=1", "x b=2"]


def test_leave_one_out_takes_the_usual_words_for_nothing_or_the_named_level() -> None:
    of = crossing(
        factor("a", "none", "y"), factor("b", False, True), factor("c", 3, 7), a="y", b=True, c=7
    )
    found = labels(of, {"name": "leave_one_out", "off": {"c": 3}})
    assert found == ["y b=True c=7", "none b=True c=7", "y b=False c=7", "y b=True c=3"]


def test_without_an_ingredient_its_own_parameters_are_gone_too() -> None:
    of = crossing(factor("a", "none", "y"), factor("g", 0, 3, a=("y",)), a="y", g=3)
    assert labels(of, "leave_one_out") == ["y g=3", "none", "y g=0"]


@pytest.mark.parametrize(
    ("of", "given", "message"),
    [
        (crossing(*THREE), "one_factor", "reference: is missing: design one_factor varies each factor"),
        (crossing(*THREE, a="x"), "one_factor", "reference: must name a level of every factor"),
        (
            crossing(factor("a", 1, 2), factor("g", 1, 3, a=(2,)), a=1, g=3),
            "one_factor",
            "reference.g: does not exist at these levels of the reference (a=1); leave it out",
        ),
        (
            crossing(factor("a", 1, 2), factor("b", 1, 2), factor("g", 1, 3, a=(2,), b=(2,)), a=1, b=1),
            "one_factor",
            "g = [1, 3]: does not exist in the reference, nor at a level that is varied from it",
        ),
        (
            crossing(factor("a", 1, 2), factor("b", 0, 2), a=1, b=2),
            "leave_one_out",
            "a = [1, 2]: has no level that is off (one of false, none, off, 0), which design leave_one_out "
            "needs; name it: design: {name: leave_one_out, off: {a: 2}}",
        ),
        (
            crossing(factor("a", 0, 1, 2), a=1),
            "leave_one_out",
            "a: design leave_one_out runs only the level of the full recipe, 1, and that without it, 0; leave out 2",
        ),
        (
            crossing(factor("a", 0, 1), a=0),
            "leave_one_out",
            "reference.a = 0: must be the level of the full recipe",
        ),
        (
            crossing(factor("a", 0, 1), a=1),
            {"name": "leave_one_out", "off": {"b": 0}},
            "design.off.b: must be one of the factors",
        ),
        (
            crossing(factor("a", 0, 1), a=1),
            {"name": "leave_one_out", "off": {"a": 7}},
            "design.off.a = 7: is not a level of this factor",
        ),
        (crossing(factor("a", 0, 1), a=1), "factorial", "factors: must have at least two factors"),
    ],
)  # fmt: skip
def test_a_design_that_the_factors_do_not_allow_is_refused(
    of: Crossing, given: Any, message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        labels(of, given)
    assert str(caught.value).startswith(message)
