"""The benchmark of early stopping counts lost trials and epochs as it says."""

import json

import pytest

from benchmarks.early_stopping import (
    RECORDED,
    Modelled,
    Recorded,
    in_turn,
    measure,
    outcomes,
    rules,
    table,
)

CROSSING = {"a": [[0.1, 0.9], [0.2, 0.3], [0.3, 0.4], [0.4, 0.5]]}  # the worst after one epoch wins


def test_without_early_stopping_nothing_is_lost_and_all_epochs_are_run() -> None:
    found = measure("none", {"scheduler": "none"}, Modelled(), 4, 3)
    assert found is not None
    assert (found.lost, found.gap, found.cost, found.full) == (0, 0, 1, 4)
    assert (found.full_lost, found.full_gap) == (0, 0)


def test_a_best_trial_that_is_stopped_counts_as_lost_with_its_gap() -> None:
    settings = {"scheduler": "one_epoch", "keep": 2}
    found = measure("one_epoch", settings, Recorded(CROSSING), 4, 5)
    assert found is not None
    assert found.lost == 1
    assert found.gap == pytest.approx(100 * (0.9 - 0.5))
    assert found.cost == pytest.approx((4 + 2) / 8)
    assert found.full == pytest.approx(3)


def test_rules_that_are_impossible_and_trials_that_were_not_recorded_are_left_out() -> None:
    found = list(outcomes(Recorded(CROSSING), (4, 5), 2))
    assert {each.trials for each in found} == {4}
    assert "hyperband" not in {each.rule for each in found}
    assert len(table(found).splitlines()) == 2 + len(found)


def test_every_arm_has_one_trial_in_each_round() -> None:
    order = in_turn(["a", "b", "c"], 4, 0)
    assert [sorted(order[place : place + 3]) for place in (0, 3, 6, 9)] == [["a", "b", "c"]] * 4


def test_recorded_curves_are_whole_and_every_rule_runs_over_them() -> None:
    content = json.loads(RECORDED.read_text())
    assert {len(row) for arm in content["arms"].values() for row in arm} == {10}
    for rule, settings in rules(6).items():
        found = measure(rule, settings, Recorded(content["arms"]), 6, 2)
        assert found is not None, rule
        assert 0 <= found.lost < 1
        assert 0 < found.cost < 1
