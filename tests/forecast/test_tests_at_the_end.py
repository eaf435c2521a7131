"""The tests of a confirmed trial, on corrupted copies of the test images too, are in the forecast."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.forecast.curves import ModelledCurves, TrialInfo
from karat.forecast.plan import arm_plans
from karat.forecast.schedule import arms_in_order, run_plan
from karat.forecast.speed.times import Times
from karat.space.reader import load_space
from karat.space.settings import ResourceConfig
from karat.training.config import TrialConfig

TEST_S = 100.0


def config_of(**data: Any) -> TrialConfig:
    return TrialConfig.from_sections(
        {
            "data": {"name": "fake", "test_images": 500, **data},
            "model": {"name": "vit_micro", "patch_size": 8},
            "attention": {"basis": "softmax"},
            "training": {"recipe": "quick"},
        }
    )


def test_each_corruption_is_five_more_tests_and_the_making_of_their_images() -> None:
    times = Times(ResourceConfig(), None)
    clean, one, both = (
        times.tests_s(config_of(corruptions=names), 0.01)
        for names in ((), ("noise",), ("noise", "jpeg"))
    )
    assert clean == pytest.approx(500 * 0.01)
    assert one > 6 * clean
    assert both > 11 * clean
    assert both - one > 5 * clean


def test_a_confirmed_trial_is_tested_after_its_last_epoch_and_no_other_one() -> None:
    curves = ModelledCurves(0, {"a": 1.0}, test_s={"a": TEST_S})
    trial: dict[str, Any] = {"arm": "a", "tuned": {}, "number": 0, "seed": 0, "epochs": 3}
    tested, other = TrialInfo(**trial, is_tested=True), TrialInfo(**trial)
    seconds = [curves.seconds(tested, epoch) - curves.seconds(other, epoch) for epoch in (1, 2, 3)]
    assert seconds == pytest.approx([0, 0, TEST_S])


def test_the_plan_takes_longer_by_the_tests_of_its_confirmed_trials(
    write_space: Callable[..., Path],
) -> None:
    space = load_space(write_space())
    plans = arm_plans(space, Times(space.resources, None))
    lengths = {label: plan.epochs for label, plan in plans.items()}
    schedule, epoch_s = arms_in_order(space, 0), dict.fromkeys(space.arms, 1.0)
    assert all(plan.test_s > 0 for plan in plans.values())

    def slot_s(test_s: float) -> float:
        curves = ModelledCurves(0, epoch_s, test_s=dict.fromkeys(space.arms, test_s))
        run = run_plan(space, schedule, lengths, curves, 2)
        return run.slot_s - run.confirmed * test_s

    assert slot_s(TEST_S) == pytest.approx(slot_s(0.0))
