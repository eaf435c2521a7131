"""One epoch for every trial of an arm, and then the best few in full."""

import pytest

from karat.errors import SettingError
from karat.schedulers import ArmSize, Scheduler, make_scheduler

SIZE = ArmSize(trials=4, epochs=10)


def made(keep: int = 2, size: ArmSize = SIZE, asked: int = 4) -> Scheduler:
    """The rule, with one arm and its trials asked for."""
    rule = make_scheduler({"scheduler": "one_epoch", "keep": keep}, "max", {"a": size})
    for trial in range(asked):
        rule.on_asked("a", trial)
    return rule


def waiting(rule: Scheduler) -> list[int]:
    return [trial for trial in range(8) if rule.waits(trial)]


def test_trials_wait_until_all_of_the_arm_have_had_their_epoch() -> None:
    rule = made()
    for trial, value in enumerate([0.5, 0.9, 0.7]):
        assert not rule.on_report("a", trial, 1, value)
    assert waiting(rule) == [0, 1, 2]
    assert list(rule.rejected()) == []
    assert rule.on_report("a", 3, 1, 0.6)
    assert waiting(rule) == []
    assert list(rule.rejected()) == [0]


def test_a_trial_that_fails_in_its_first_epoch_is_not_waited_for() -> None:
    rule = made(keep=1)
    for trial, value in enumerate([0.5, 0.9, 0.7]):
        rule.on_report("a", trial, 1, value)
    rule.on_ended("a", 3)
    assert waiting(rule) == []
    assert list(rule.rejected()) == [0, 2]
    assert list(rule.rejected()) == []


def test_a_search_that_is_cut_waits_for_no_trial_that_was_never_asked_for() -> None:
    rule = made(keep=1, asked=2)
    rule.on_report("a", 0, 1, 0.5)
    rule.on_report("a", 1, 1, 0.6)
    assert waiting(rule) == [0, 1]
    rule.close()
    assert waiting(rule) == []
    assert list(rule.rejected()) == [0]


def test_trials_of_an_extension_go_on_if_they_are_among_the_best_so_far() -> None:
    rule = made()
    for trial, value in enumerate([0.5, 0.9, 0.7, 0.6]):
        rule.on_report("a", trial, 1, value)
    rule.fit({"a": ArmSize(trials=6, epochs=10)})
    for trial in (4, 5):
        rule.on_asked("a", trial)
    assert not rule.on_report("a", 4, 1, 0.8)
    assert rule.on_report("a", 5, 1, 0.75)


def test_ties_go_to_the_trial_that_was_asked_for_first() -> None:
    rule = made()
    answers = [rule.on_report("a", trial, 1, 0.5) for trial in (3, 2, 1, 0)]
    assert answers == [False] * 4
    assert sorted(rule.rejected()) == [2, 3]


@pytest.mark.parametrize(
    ("keep", "size", "says"),
    [
        (4, SIZE, "keep.*an arm has 4 trials; must be below"),
        (1, ArmSize(trials=4, epochs=1), "at least 2 epochs"),
        (1, ArmSize(trials=None, epochs=9), "allocation: equal"),
        (0, SIZE, "at least 1"),
    ],
)
def test_impossible_settings_are_refused(keep: int, size: ArmSize, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        made(keep, size)
