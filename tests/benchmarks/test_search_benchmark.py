"""The search's benchmark: one objective, honest figures, and all three engines in one run."""

import json
import subprocess
import sys

import pytest

from benchmarks.search import data_of, text_of
from benchmarks.search_engines import by_optuna
from benchmarks.search_objective import EPOCH_S, Ended, Search, best_possible, value_of, work
from tests.launched import ROOT
from tests.waiting import PATIENCE_S


def test_objective_is_of_a_known_length_and_response() -> None:
    assert work() >= EPOCH_S  # by the clock: on a busy machine it does less, and no longer
    assert value_of("fourier", 4e-3, 5) == best_possible()
    assert value_of("softmax", 4e-3, 5) < value_of("fourier", 4e-3, 5)
    assert value_of("fourier", 1e-3, 5) < value_of("fourier", 2e-3, 5)


def test_overhead_is_slot_time_in_which_nothing_was_trained() -> None:
    ended = tuple(Ended(at_s=at, value=at / 10, trained_s=1.0) for at in (2.0, 3.0, 4.0, 5.0))
    search = Search(name="karat", ended=ended, failed=0, start_s=9.0, wall_s=5.0, slots=2)
    assert search.overhead_s_per_trial == pytest.approx((5 * 2 - 4) / 4)
    assert search.steady_s_per_trial == pytest.approx((5 * 2 - 5 - 2) / 2)
    assert (search.best_at(1.0), search.best_at(3.5)) == (None, 0.3)


def test_every_figure_is_printed() -> None:
    data = data_of([by_optuna(2, 2)])
    assert data["optuna"]["failed"] == 0
    assert data["optuna"]["overhead_s_per_trial"] > 0
    assert "| optuna | 2 | 0 |" in text_of(data)


@pytest.mark.slow
def test_all_three_engines_run_the_objective() -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--json", "--trials", "6"]
    done = subprocess.run(
        [*command, "--ray-trials", "1", "--optuna-trials", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert [data[name]["failed"] for name in ("karat", "ray_tune", "optuna")] == [0, 0, 0]
    assert [data[name]["trials"] for name in ("karat", "ray_tune", "optuna")] == [6, 1, 2]
