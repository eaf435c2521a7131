"""Conditions on the metrics of an epoch."""

import pytest

from karat.constraints import Constraint, broken, contradiction


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("health_entropy >= 0.05", Constraint("health_entropy", ">=", 0.05)),
        (" val_loss<=5 ", Constraint("val_loss", "<=", 5.0)),
        ("val_loss <= 1e-3", Constraint("val_loss", "<=", 0.001)),
    ],
)
def test_a_constraint_is_a_metric_a_relation_and_a_number(text: str, found: Constraint) -> None:
    assert Constraint.of(text) == found
    assert Constraint.of(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "health_entropy",
            "health_entropy > 0.05",
            "health_entropy >= high",
            "0.05 <= val_loss",
        ),
        *("health.entropy >= 0.05", "val_loss <= inf", "val_loss <= nan", "val_loss <= 1 2"),
    ],
)
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"as in health_entropy >= 0\.05"):
        Constraint.of(text)


def test_a_limit_is_allowed_and_what_was_not_reported_is_not_looked_at() -> None:
    low, high = Constraint.of("a >= 0.5"), Constraint.of("b <= 2")
    assert broken((low, high), {"a": 0.5, "b": 2.0}) is None
    assert broken((low, high), {"c": 9.0}) is None
    assert broken((low, high), {"a": 0.4, "b": 3.0}) == (low, 0.4)
    assert broken((low, high), {"a": 0.6, "b": 3.0}) == (high, 3.0)


def test_constraints_that_say_nothing_or_too_much_contradict() -> None:
    def of(*texts: str) -> object:
        return contradiction(map(Constraint.of, texts))

    assert of("a >= 0.1", "a <= 0.9", "b >= 0.1") is None
    assert of("a >= 0.1", "a >= 0.2") is not None
    assert of("a >= 0.9", "a <= 0.1") is not None
