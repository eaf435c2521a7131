"""The contract of every early-stopping rule in the catalogue."""

import math
import random

import pytest

from karat.errors import SettingError
from karat.schedulers import SCHEDULERS, Scheduler, make_scheduler

Told = tuple[str, int, int, float]
EPOCHS = 12
every_rule = pytest.mark.parametrize("name", sorted(SCHEDULERS))
both_modes = pytest.mark.parametrize("mode", ["max", "min"])


def reports(seed: int) -> list[Told]:
    """Arm, trial, epoch and value of 20 trials in two arms, two trials at a time."""
    draw = random.Random(seed)
    told = []
    for first in range(0, 20, 2):
        for epoch in range(1, EPOCHS + 1):
            told += [(f"arm {t % 3}", t, epoch, draw.random()) for t in (first, first + 1)]
    return told


def answers(rule: Scheduler, told: list[Told]) -> list[bool]:
    """The rule's answer to each report; a stopped trial reports no more."""
    stopped: set[int] = set()
    found = []
    for arm, trial, epoch, value in told:
        if trial in stopped:
            continue
        found.append(rule.on_report(arm, trial, epoch, value))
        if found[-1]:
            stopped.add(trial)
    return found


@every_rule
@both_modes
def test_answers_depend_on_the_reports_alone(name: str, mode: str) -> None:
    told = reports(1)
    random.seed(5)
    first = answers(make_scheduler({"scheduler": name}, mode), told)
    random.seed(6)
    assert answers(make_scheduler({"scheduler": name}, mode), told) == first


@every_rule
@both_modes
def test_first_trial_is_never_stopped(name: str, mode: str) -> None:
    rule = make_scheduler({"scheduler": name}, mode)
    worst = -1e9 if mode == "max" else 1e9
    assert not any(rule.on_report("arm", 0, epoch, worst) for epoch in range(1, EPOCHS + 1))


@every_rule
def test_modes_mirror_each_other(name: str) -> None:
    told = reports(2)
    mirrored = [(arm, trial, epoch, -value) for arm, trial, epoch, value in told]
    highest = answers(make_scheduler({"scheduler": name}, "max"), told)
    assert answers(make_scheduler({"scheduler": name}, "min"), mirrored) == highest


@every_rule
def test_best_trial_so_far_is_never_stopped(name: str) -> None:
    rule = make_scheduler({"scheduler": name}, "max")
    best = -math.inf
    for arm, trial, epoch, value in reports(3):
        is_best, best = value > best, max(best, value)
        assert not (rule.on_report(arm, trial, epoch, value) and is_best)


@every_rule
@pytest.mark.parametrize("setting", ["no_such_setting", "mode"])
def test_unknown_setting_is_refused(name: str, setting: str) -> None:
    with pytest.raises(SettingError, match=f"early_stopping.{setting}"):
        make_scheduler({"scheduler": name, setting: "max"}, "max")
