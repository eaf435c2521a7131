"""Brackets of successive halving within an arm."""

from collections import Counter

import pytest

from karat.errors import SettingError
from karat.schedulers import ArmSize
from karat.schedulers.hyperband import Hyperband


def made(trials: int = 34, epochs: int = 27, **settings: float) -> Hyperband:
    rule = Hyperband(**settings)  # type: ignore[arg-type]
    rule.fit({"a": ArmSize(trials=trials, epochs=epochs)})
    return rule


def test_rungs_end_below_the_full_length_and_are_a_factor_apart() -> None:
    """R eta^-s, R eta^(-s+1), ... for R = 81 and eta = 3."""
    rule = made(epochs=81, trials=200)
    assert [rule.rungs(bracket, 81) for bracket in range(5)] == [
        (),
        (27,),
        (9, 27),
        (3, 9, 27),
        (1, 3, 9, 27),
    ]


def test_a_full_round_has_as_many_trials_in_each_bracket_as_algorithm_1() -> None:
    """ceil((s_max + 1) eta^s / (s + 1)) for s_max = 4 and eta = 3."""
    rule = made(epochs=81, trials=200)
    counts = [rule._share(bracket, 4) for bracket in range(5)]
    assert counts == [5, 8, 15, 34, 81]
    for trial in range(sum(counts)):
        rule.on_asked("a", trial)
    assert Counter(rule._brackets.values()) == dict(enumerate(counts))


def test_a_bracket_depends_on_the_trials_asked_for_before_in_the_arm_alone() -> None:
    alone, among = made(), Hyperband()
    among.fit({label: ArmSize(trials=34, epochs=27) for label in "ab"})
    for trial in range(0, 40, 2):
        alone.on_asked("a", trial)
        among.on_asked("a", trial)
        among.on_asked("b", trial + 1)
    assert {t: among._brackets[t] for t in alone._brackets} == alone._brackets


def test_trials_are_compared_within_their_bracket() -> None:
    rule = made()
    for trial in range(8):
        rule.on_asked("a", trial)
    earliest = rule._brackets[0]
    other = next(trial for trial in range(8) if rule._brackets[trial] != earliest)
    same = next(trial for trial in range(1, 8) if rule._brackets[trial] == earliest)
    rung = rule.rungs(earliest, 27)[0]
    assert not rule.on_report("a", 0, rung, 0.9)
    assert not rule.on_report("a", other, rung, 0.1)
    assert rule.on_report("a", same, rung, 0.1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 27, "grace_epochs": 10}, "must be at most 9"),
        ({"epochs": 27, "trials": 4}, "4 brackets, and an arm has 4 trials"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        made(**settings)
