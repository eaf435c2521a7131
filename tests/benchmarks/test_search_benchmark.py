"""The search's benchmark: one objective, honest figures, and all three engines in one run."""

import json
import subprocess
import sys

import pytest

from benchmarks.search import data_of, text_of
from benchmarks.search_objective import Ended, Search, Work, best_possible, value_of
from benchmarks.search_rivals import by_optuna_threads
from tests.launched import ROOT
from tests.waiting import PATIENCE_S


def test_objective_is_of_a_known_length_and_response() -> None:
    # By the clock: on a busy machine it does less, and no longer.
    assert Work(seconds=0.02)() >= 0.02
    assert Work(seconds=0.02, sleeps=True)() >= 0.02
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
    work = Work(seconds=0.01)
    data = data_of([by_optuna_threads(2, work, 2)], work)
    assert data["engines"]["optuna_threads"]["failed"] == 0
    assert data["engines"]["optuna_threads"]["overhead_s_per_trial"] > 0
    assert "| optuna_threads | 2 | 0 |" in text_of(data)


@pytest.mark.slow
def test_all_engines_run_the_objective() -> None:
    command = [sys.executable, "-m", "benchmarks.search", "--json", "--trials", "6"]
    done = subprocess.run(
        [*command, "--seconds", "0.3"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    engines = json.loads(done.stdout)["engines"]
    assert list(engines) == ["karat", "ray_tune", "optuna"]
    assert [found["failed"] for found in engines.values()] == [0, 0, 0]
    assert all(found["trials"] >= 6 for found in engines.values())
