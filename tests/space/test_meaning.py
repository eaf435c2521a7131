"""Values of the right type that nobody can mean are refused, with what would be right."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.forecast.sight import rule_text
from karat.space.reader import load_space
from karat.space.space import Space

WriteSpace = Callable[..., Path]


@pytest.mark.parametrize(("value", "share"), [("0.5", "0.005"), ("5", "0.05"), ("0.2", "0.002")])
def test_difference_in_percent_is_refused(write_space: WriteSpace, value: str, share: str) -> None:
    path = write_space(("seeds: 2", f"seeds: 2, smallest_difference: {value}"))
    with pytest.raises(InputError, match=rf"below 0\.2.*{value} points are {share}") as raised:
        load_space(path)
    assert "confirm.smallest_difference" in str(raised.value)


def test_difference_of_a_loss_is_no_share(write_space: WriteSpace) -> None:
    path = write_space(
        ("trials: 6", "trials: 6, metric: val_loss, mode: min"),
        ("seeds: 2", "seeds: 2, smallest_difference: 0.5"),
    )
    assert load_space(path).confirm.smallest_difference == 0.5


@pytest.mark.parametrize("high", ["100", "1.5"])
def test_learning_rate_that_no_training_survives_is_refused(
    write_space: WriteSpace, high: str
) -> None:
    with pytest.raises(InputError, match=r"learning_rate.*at most 1"):
        load_space(write_space(("high: 1e-2", f"high: {high}")))


def test_grace_beyond_the_epochs_is_refused(write_space: WriteSpace) -> None:
    with pytest.raises(InputError, match="grace_epochs"):
        load_space(write_space(("grace_epochs: 1", "grace_epochs: 20")))


def test_rule_of_the_verdicts_is_told_in_words(small_space: Space) -> None:
    assert rule_text(small_space) == (
        "an arm is equivalent if the 95 % interval of its paired difference lies within 0.50 points of zero; "
        "otherwise better or worse if p of the paired t test, Holm-corrected over 2 comparisons, is below 0.05; "
        "otherwise inconclusive"
    )
