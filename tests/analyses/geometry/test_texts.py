"""Numbers of several runs in words."""

import pytest

from karat.analyses.geometry.texts import number_text, over_runs, runs_text, share_text, span_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (123456.0, "1.23e+05"),
        (1234.5, "1234"),
        (123.4, "123"),
        (-1.848, "-1.85"),
        (0.05, "0.0500"),
        (1e-5, "1.00e-05"),
        (float("nan"), "-"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_several_runs_have_their_range() -> None:
    assert over_runs([1.0], lambda each: each) == "1.00"
    assert over_runs([1.0, 2.0], lambda each: each) == "1.50 (1.00 to 2.00)"
    assert over_runs([0.1, 0.3], lambda each: each, share_text) == "20.0 % (10.0 % to 30.0 %)"
    assert span_text([3, 3]) == "3"
    assert span_text([8, 3]) == "3 to 8"


def test_it_is_said_how_many_runs_there_are() -> None:
    assert "of one run each" in runs_text({"a": [1], "b": [1]})
    assert runs_text({"a": [1]}).startswith("The numbers are of one run,")
    assert "over 2 runs of each arm" in runs_text({"a": [1, 2], "b": [1, 2]})
    mixed = runs_text({"a": [1, 2], "b": [1]})
    assert "2 of a, 1 of b. One run does not say" in mixed
    assert "One run" not in runs_text({"a": [1, 2], "b": [1, 2, 3]})
