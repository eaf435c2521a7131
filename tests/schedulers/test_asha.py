import random

import numpy as np

from karat.schedulers import ArmSize, make_scheduler
from karat.schedulers._rungs import quantile
from karat.schedulers.asha import ASHA


def test_rungs_grow_by_the_reduction_factor() -> None:
    rule = ASHA(grace_epochs=2, reduction_factor=3)
    assert [epoch for epoch in range(1, 30) if rule.is_rung(epoch)] == [2, 6, 18]


def test_a_trial_below_the_quantile_of_its_rung_is_stopped() -> None:
    rule = ASHA(grace_epochs=1, reduction_factor=2)
    decisions = [rule.on_report("a", n, 1, v) for n, v in enumerate([0.5, 0.6, 0.4, 0.55, 0.9])]
    assert decisions == [False, False, True, False, False]


def test_trials_are_compared_within_their_arm() -> None:
    rule = ASHA()
    assert not rule.on_report("fast", 0, 1, 0.9)
    assert not rule.on_report("slow", 1, 1, 0.1)
    assert ASHA(by_arm=False).on_report("fast", 0, 1, 0.9) is False


def test_lower_is_better_when_the_mode_is_min() -> None:
    rule = make_scheduler({"scheduler": "asha"}, "min", {"a": ArmSize(trials=9, epochs=9)})
    assert not rule.on_report("a", 0, 1, 1.0)
    assert rule.on_report("a", 1, 1, 2.0)
    assert not rule.on_report("a", 2, 1, 0.5)


def test_report_repeated_after_a_resume_is_not_compared_with_itself() -> None:
    rule = ASHA()
    assert not rule.on_report("a", 0, 1, 0.5)
    assert not rule.on_report("a", 0, 1, 0.4)


def test_quantile_matches_numpy_bit_for_bit() -> None:
    draw = random.Random(0)
    for size in (1, 2, 3, 4, 7, 50, 333):
        for factor in (1.1, 1.5, 2, 3, 4, 6, 10):
            values = sorted(draw.choice([draw.random(), 0.25]) for _ in range(size))
            share = 1 - 1 / factor
            assert quantile(values, share) == float(np.quantile(values, share))
