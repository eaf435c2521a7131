"""The contract of every early-stopping rule in the catalogue."""

import math
import random

import pytest

from karat.errors import SettingError
from karat.schedulers import SCHEDULERS, ArmSize, Scheduler, make_scheduler

Told = tuple[str, int, int, float]
EPOCHS = 12
ARMS = {f"arm {n}": ArmSize(trials=7, epochs=EPOCHS) for n in range(3)}
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


def made(name: str, mode: str = "max") -> Scheduler:
    """A rule with its default settings, whose trials have been asked for."""
    rule = make_scheduler({"scheduler": name}, mode, ARMS)
    for trial in range(20):
        rule.on_asked(f"arm {trial % 3}", trial)
    return rule


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
    first = answers(made(name, mode), told)
    random.seed(6)
    assert answers(made(name, mode), told) == first


@every_rule
@both_modes
def test_first_trial_is_never_stopped(name: str, mode: str) -> None:
    rule = made(name, mode)
    worst = -1e9 if mode == "max" else 1e9
    assert not any(rule.on_report("arm 0", 0, epoch, worst) for epoch in range(1, EPOCHS + 1))


@every_rule
def test_modes_mirror_each_other(name: str) -> None:
    told = reports(2)
    mirrored = [(arm, trial, epoch, -value) for arm, trial, epoch, value in told]
    highest = answers(made(name), told)
    assert answers(made(name, "min"), mirrored) == highest


@every_rule
def test_best_trial_so_far_is_never_stopped(name: str) -> None:
    rule = made(name)
    best = -math.inf
    for arm, trial, epoch, value in reports(3):
        is_best, best = value > best, max(best, value)
        assert not (rule.on_report(arm, trial, epoch, value) and is_best)


@every_rule
@pytest.mark.parametrize("setting", ["no_such_setting", "mode", "arms"])
def test_unknown_setting_is_refused(name: str, setting: str) -> None:
    with pytest.raises(SettingError, match=f"early_stopping.{setting}"):
        make_scheduler({"scheduler": name, setting: "max"}, "max", ARMS)


@every_rule
def test_arms_are_never_compared_with_each_other(name: str) -> None:
    """What happens in one arm does not depend on the reports of another."""
    told = reports(4)
    alone = [each for each in told if each[0] == "arm 1"]
    among, of_arm = made(name), []
    stopped: set[int] = set()
    for arm, trial, epoch, value in told:
        if trial not in stopped:
            answer = among.on_report(arm, trial, epoch, value)
            of_arm += [answer] if arm == "arm 1" else []
            stopped |= {trial} if answer else set()
    assert of_arm == answers(made(name), alone)


@every_rule
def test_a_repeated_report_changes_no_answer(name: str) -> None:
    """After a lost checkpoint an epoch is trained again, and reported with another value."""
    told = reports(5)
    again, stopped, found = made(name), set(), []
    for arm, trial, epoch, value in told:
        if trial in stopped:
            continue
        found.append(again.on_report(arm, trial, epoch, value))
        if found[-1]:
            stopped.add(trial)
        else:
            assert not again.on_report(arm, trial, epoch, value), (trial, epoch)
    assert found == answers(made(name), told)


@every_rule
def test_no_trial_waits_once_all_of_its_arm_have_reported(name: str) -> None:
    rule = made(name)
    for trial in range(20):
        rule.on_report(f"arm {trial % 3}", trial, 1, trial / 20)
    rule.on_ended("arm 2", 20)
    rule.close()
    assert not any(map(rule.waits, range(20)))


@every_rule
def test_the_plan_tells_the_rule_in_words_with_its_numbers(name: str) -> None:
    told = made(name).in_words()
    assert "\n" not in told
    assert name == "none" or any(character.isdigit() for character in told) or "one epoch" in told


def test_words_of_asha_name_the_epochs_at_which_trials_are_compared() -> None:
    settings = {"scheduler": "asha", "grace_epochs": 2, "reduction_factor": 3}
    assert make_scheduler(settings, "max", ARMS).in_words() == (
        "after epoch 2, 6 about 1 of 3 of the trials of its arm goes on"
    )
