"""The median stopping rule within an arm."""

import pytest

from karat.errors import SettingError
from karat.schedulers import ArmSize
from karat.schedulers.median import Median, median


def made(trials: int = 9, epochs: int = 4, **settings: int) -> Median:
    rule = Median(**settings)
    rule.fit({label: ArmSize(trials=trials, epochs=epochs) for label in ("a", "b")})
    return rule


def with_completed(rule: Median) -> Median:
    """Three completed trials, whose means up to epoch 2 are 0.3, 0.4 and 0.5."""
    for trial, values in enumerate([(0.2, 0.4, 0.5, 0.5), (0.3, 0.5, 0.6, 0.6), (0.4, 0.6, 1, 1)]):
        for epoch, value in enumerate(values, 1):
            assert not rule.on_report("a", trial, epoch, value)
    return rule


def test_a_trial_stops_if_its_best_value_is_below_the_median_of_running_means() -> None:
    rule = with_completed(made())
    assert not rule.on_report("a", 3, 1, 0.31)
    assert rule.on_report("a", 3, 2, 0.39)
    rule.on_report("a", 4, 1, 0.41)
    assert not rule.on_report("a", 4, 2, 0.1)  # its best value counts, not its last


def test_no_trial_is_stopped_before_enough_trials_of_its_arm_were_completed() -> None:
    assert not with_completed(made(min_trials=4)).on_report("a", 3, 1, 0.0)
    assert not with_completed(made()).on_report("b", 3, 1, 0.0)


def test_no_trial_is_stopped_in_its_grace_period() -> None:
    rule = with_completed(made(grace_epochs=2))
    assert not rule.on_report("a", 3, 1, 0.0)
    assert rule.on_report("a", 3, 2, 0.0)


def test_median_of_an_even_number_of_values_is_the_middle_of_two() -> None:
    assert median([1.0, 2.0, 5.0]) == 2.0
    assert median([1.0, 2.0, 4.0, 5.0]) == 3.0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grace_epochs": 4}, "must be below 4"),
        ({"trials": 3}, "min_trials.*an arm has 3 trials"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        made(**settings)
