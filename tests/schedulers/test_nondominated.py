"""Successive halving by non-dominated rank."""

import random

import pytest

from karat.schedulers import ArmSize, make_scheduler
from karat.schedulers.nondominated import NonDominated, in_order, spread_out


def rule(**settings: float) -> NonDominated:
    arms = {"arm": ArmSize(trials=30, epochs=9)}
    made = make_scheduler({"scheduler": "nondominated", **settings}, "max", arms)
    assert isinstance(made, NonDominated)
    return made


def test_the_front_comes_first_and_is_spread_out() -> None:
    points = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.6, 0.6), (0.9, 0.1), (0.5, 0.5)]
    # The front from its best in the first goal: the other end, the middle, then what lies near the first.
    assert in_order(points) == [1, 2, 3, 4, 5, 0]
    assert spread_out([(2.0, 2.0), (2.0, 2.0)]) == [0, 1]


def test_a_trial_that_is_worse_in_all_goals_stops_and_one_of_the_front_goes_on() -> None:
    of = rule()
    for trial in range(6):
        of.on_goals("arm", trial, 1, (0.5 + trial / 10, -1000.0))
    assert of.on_goals("arm", 6, 1, (0.4, -1001.0))
    # Alone at the other end of the front: asha, which sees accuracy alone, would stop it.
    assert not of.on_goals("arm", 7, 1, (0.4, -10.0))


@pytest.mark.parametrize("goals", [1, 2, 3])
def test_about_one_of_the_factor_goes_on(goals: int) -> None:
    draw, of = random.Random(goals), rule(reduction_factor=3)
    passed = sum(
        not of.on_goals("arm", trial, 1, [draw.random() for _ in range(goals)])
        for trial in range(300)
    )
    assert 80 <= passed <= 130
