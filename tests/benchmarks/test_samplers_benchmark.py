"""The bench of searchers, on tables and an objective that take no time."""

import json
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from benchmarks.goals import hypervolume, most, objective, shares
from benchmarks.samplers import (
    LCBENCH,
    NAMES,
    TRIALS,
    Table,
    lcbench,
    mean_text,
    of_samplers,
    recorded,
    rules,
    searched,
)
from karat.samplers import SAMPLERS
from karat.schedulers import SCHEDULERS

SPACE = {"rate": FloatDistribution(0.0, 1.0)}


def table() -> Table:
    """Trials whose final value is the better the nearer they are to 0.7; early epochs are in the same order."""
    rates = [place / 30 for place in range(31)]
    return Table.of(
        SPACE,
        [({"rate": r}, [(1 - abs(r - 0.7)) * (e + 1) / 6 for e in range(6)]) for r in rates],
    )


def test_every_sampler_and_rule_is_compared() -> None:
    assert set(NAMES) == set(SAMPLERS) - {"grid"}
    compared = {each["scheduler"] for each in rules(TRIALS).values()}
    assert compared == set(SCHEDULERS) - {"nondominated"}  # which needs several goals


@pytest.mark.parametrize("name", sorted(rules(9)))
def test_a_rule_spends_no_more_than_all_and_its_best_trial_is_complete(name: str) -> None:
    found = searched(table(), "random", rules(9)[name], seed=3, trials=9)
    assert found.spent <= 9 * 6
    assert (found.spent == 9 * 6) == (name == "none")
    assert found.best
    assert 0 <= found.regret_at(np.inf) <= found.regret_at(1)


def test_a_search_that_learns_ends_with_less_regret_than_one_that_does_not() -> None:
    ends = {
        name: [
            searched(table(), name, {"scheduler": "none"}, seed).regret_at(np.inf)
            for seed in range(8)
        ]
        for name in ("tpe", "random")
    }
    assert np.mean(ends["tpe"]) <= np.mean(ends["random"])


def test_lines_are_complete_and_intervals_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.samplers.NAMES", ("random", "qmc"))
    _, *rows = of_samplers([table()], 3)
    assert len(rows) == 3
    assert all(row.count("|") == 6 for row in rows)
    assert mean_text([1.0, 2.0, 3.0]) == "2.00 [-0.48, 4.48]"


def test_our_own_curves_are_read(tmp_path: Path) -> None:
    about, arms = recorded()
    assert "qmc" in about
    assert len(arms) == 3
    assert all(arm.curves.shape[0] >= 30 for arm in arms)


def test_lcbench_is_read_from_its_file(tmp_path: Path) -> None:
    config = dict.fromkeys(LCBENCH, 1) | {"batch_size": 64, "learning_rate": 0.01, "momentum": 0.5,
              "weight_decay": 0.01, "max_units": 128, "max_dropout": 0.5}  # fmt: skip
    run = {"config": config, "log": {"Train/val_accuracy": [50.0, 75.0]}, "results": {}}
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"one": {"0": run}, "two": {"0": run}}))
    first, second = lcbench(path, 2)
    assert first.best == second.best == 0.75


def test_hypervolume_is_that_of_rectangles() -> None:
    assert hypervolume([]) == 0.0
    assert hypervolume([(0.9, 0.5)]) == pytest.approx(0.4 * 0.5)
    both = hypervolume([(0.9, 0.5), (0.7, 0.2), (0.6, 0.6), (0.4, 0.0)])
    assert both == pytest.approx(0.2 * 0.8 + 0.2 * 0.5)
    assert objective({"rank": 32, "width": 128, "rate": 1e-3})[1] == 1.0


@pytest.mark.slow
def test_a_search_with_two_goals_finds_at_least_what_optunas_nsga2_does() -> None:
    whole = most()
    ours, theirs = (shares(name, range(20), 40, whole) for name in ("tpe", "optuna"))
    assert np.mean(ours) >= np.mean(theirs)
