"""Whole studies with a known truth: the verdicts keep what they promise. `make evidence` runs many more.

The seeds are fixed, so that a test always has the same outcome; its bounds are those that studies with
other seeds exceed once in a thousand times if the promise holds.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy.stats import binom

from benchmarks.evidence_curves import CROSSING, FLAT, LANDSCAPES, STEEP, Landscape
from benchmarks.evidence_studies import ALPHA, TUNINGS, Outcome, Question, run
from tests.marks import further

RARE = 0.001
STUDIES, FEWER = 25, 15
of_each_landscape = pytest.mark.parametrize(
    "landscape", further(LANDSCAPES), ids=lambda land: land.name
)


def studies(question: Question, number: int = STUDIES) -> list[Outcome]:
    return [run(question, each, seed=1) for each in range(number)]


def most_by_chance(n: int, share: float) -> int:
    """The highest count that is not rarer than `RARE`."""
    return int(binom.ppf(1 - RARE, n, share))


def false_calls(outcomes: Sequence[Outcome]) -> int:
    return sum(each.false for each in outcomes)


@of_each_landscape
def test_identical_arms_are_called_different_no_more_often_than_promised_when_tuned_anew(
    landscape: Landscape,
) -> None:
    found = studies(Question(landscape=landscape, others=1, tunings=TUNINGS))
    assert false_calls(found) <= most_by_chance(STUDIES, ALPHA)


@pytest.mark.slow
def test_of_several_identical_arms_any_is_called_different_no_more_often_than_promised() -> None:
    found = studies(Question(landscape=STEEP, others=4, tunings=TUNINGS), FEWER)
    assert false_calls(found) <= most_by_chance(FEWER, ALPHA)
    assert sum(bool(each.false_levels) for each in found) <= most_by_chance(FEWER, ALPHA)


@pytest.mark.slow
def test_with_one_tuning_identical_arms_are_called_different_too_often_and_cells_are_not() -> None:
    """So the simulation sees the error that tunings prevent (decision 0029)."""
    sharper = replace(CROSSING, steepness=30.0, apart=0.5, own=0.3)
    found = studies(Question(landscape=sharper, others=1, tunings=1))
    assert false_calls(found) > most_by_chance(STUDIES, ALPHA)
    assert STUDIES - sum(each.covered_cells == 1 for each in found) <= most_by_chance(
        STUDIES, ALPHA
    )


@of_each_landscape
def test_the_interval_covers_a_known_difference_as_often_as_promised(landscape: Landscape) -> None:
    found = studies(Question(landscape=landscape, others=1, tunings=TUNINGS, difference=1.0))
    assert STUDIES - sum(each.covered == 1 for each in found) <= most_by_chance(STUDIES, ALPHA)
    assert false_calls(found) == 0


@pytest.mark.slow
def test_the_interval_of_the_arm_of_the_answer_covers_its_difference_as_often_as_promised() -> None:
    found = studies(Question(landscape=STEEP, others=4, tunings=TUNINGS, difference=1.0), FEWER)
    assert FEWER - sum(bool(each.headline_covered) for each in found) <= most_by_chance(
        FEWER, ALPHA
    )


def test_a_difference_far_above_the_noise_is_always_found() -> None:
    found = studies(Question(landscape=FLAT, others=1, tunings=TUNINGS, difference=10.0), 10)
    assert all(each.found == 1 for each in found)


@pytest.mark.parametrize("tunings", [1, TUNINGS])
@pytest.mark.slow
def test_an_arm_that_only_fails_more_often_is_not_called_different_more_often_than_promised(
    tunings: int,
) -> None:
    question = Question(landscape=FLAT, others=1, tunings=tunings, failing=0.2)
    assert false_calls(studies(question)) <= most_by_chance(STUDIES, ALPHA)
