"""What the report says of early stopping and of the importances of parameters."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from karat.causes import Audit
from karat.forecast.curves import TrialInfo
from karat.forecast.simulator import simulate
from karat.journal.state import StudyState
from karat.report.facts.importances import best_of, importances
from karat.report.facts.search_summary import search_facts
from karat.report.search_text import false_stops_text, importance_notes, stopping_notes
from karat.report.writer import write_report
from karat.space.reader import load_space
from karat.statistics.metric import Metric
from karat.statistics.samples import rate_interval
from tests.conftest import SMALL

WriteSpace = Callable[..., Path]
METRIC = Metric(name="val_accuracy", mode="max")
RATE, DECAY = "training.learning_rate", "training.weight_decay"


class Curves:
    """After epoch 1 only the learning rate counts; later only the weight decay does."""

    def value(self, trial: TrialInfo, epoch: int) -> float:
        if epoch == 1:
            return 0.5 - 40 * abs(trial.tuned[RATE] - 0.004)
        return 0.5 - 4 * abs(trial.tuned[DECAY] - 0.04)

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return 60.0


@pytest.mark.parametrize(("trials", "best"), [(20, 5), (50, 5), (51, 6), (200, 20)])
def test_importances_are_about_no_fewer_than_five_trials(trials: int, best: int) -> None:
    assert best_of(trials) == best


def state_with(
    write_space: WriteSpace, folder: Path, stopping: str, trials: int = 60
) -> StudyState:
    """A simulated study with two tuned parameters and this early stopping."""
    text = (
        SMALL.replace("{scheduler: asha, grace_epochs: 1, reduction_factor: 3}", stopping)
        .replace("sampler: tpe, trials: 6", f"sampler: random, trials: {trials}")
        .replace("tuned:\n", "tuned:\n  training.weight_decay: {low: 0.001, high: 0.1}\n")
    )
    return simulate(load_space(write_space(text=text)), folder, 2, Curves()).state


@pytest.mark.parametrize(
    ("stopping", "epoch", "name"), [("{scheduler: asha}", 1, RATE), ("{scheduler: none}", 4, DECAY)]
)
def test_importances_compare_values_of_one_epoch_that_all_trials_have_reached(
    write_space: WriteSpace, tmp_path: Path, stopping: str, epoch: int, name: str
) -> None:
    state = state_with(write_space, tmp_path / "s", stopping)
    found = importances(state, METRIC)
    assert found is not None
    assert (found.epoch, found.trials, found.of) == (epoch, 60, 60)
    first = found.found[0]
    assert first.name == name
    assert first.share > 0.6
    assert first.low <= first.share <= first.high
    assert sum(each.share for each in found.found) == pytest.approx(1)
    facts = replace(search_facts(state, METRIC), importances=found)
    assert f"after epoch {epoch}" in " ".join(importance_notes(facts))
    assert "the 6 best of them have in common" in " ".join(importance_notes(facts))


def test_importances_are_the_same_each_time(write_space: WriteSpace, tmp_path: Path) -> None:
    state = state_with(write_space, tmp_path / "s", "{scheduler: none}")
    assert importances(state, METRIC) == importances(state, METRIC)


def test_importances_print_nothing(
    write_space: WriteSpace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = state_with(write_space, tmp_path / "s", "{scheduler: none}")
    optuna.logging.set_verbosity(optuna.logging.INFO)  # Optuna's own
    monkeypatch.setattr(logging.getLogger("optuna"), "propagate", True)
    importances(state, METRIC)
    assert not caplog.records


def test_few_trials_have_no_importances(write_space: WriteSpace, tmp_path: Path) -> None:
    state = state_with(write_space, tmp_path / "s", "{scheduler: none}", trials=18)
    assert importances(state, METRIC) is None


def test_the_report_names_the_epoch_of_the_importances(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    state = state_with(write_space, tmp_path / "s", "{scheduler: asha}")
    write_report(tmp_path / "s", state)
    text = (tmp_path / "s" / "report.md").read_text()
    assert "Importances after epoch 1" in text
    assert "training.learning_rate" in text


def test_a_false_stop_is_a_finished_trial_that_is_the_best_of_its_arm(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    state = state_with(write_space, tmp_path / "s", "{scheduler: asha, audit_share: 0.9}", 36)
    found = search_facts(state, METRIC).false_stops
    assert found is not None
    finished = [t for t in state.of_phase("search") if t.cause == Audit.FINISHED_ANYWAY]
    best = {
        max(
            (t for t in state.of_phase("search") if t.arm == arm and t.status == "completed"),
            key=lambda trial: trial.last(METRIC.name) or 0,
        ).number
        for arm in {trial.arm for trial in finished}
    }
    assert found.finished == len(finished) > 5
    assert found.best == len(best & {trial.number for trial in finished}) > 0
    assert not list(stopping_notes(search_facts(state, METRIC)))  # it is on a card
    said = false_stops_text(found)
    assert f"{found.finished} trials" in said
    assert "Clopper-Pearson" in said


@pytest.mark.parametrize("stopping", ["{scheduler: asha}", "{scheduler: none, audit_share: 0.5}"])
def test_without_an_audit_nothing_is_said_of_false_stops(
    write_space: WriteSpace, tmp_path: Path, stopping: str
) -> None:
    state = state_with(write_space, tmp_path / "s", stopping)
    assert search_facts(state, METRIC).false_stops is None
    assert not list(stopping_notes(search_facts(state, METRIC)))


def test_an_audit_that_met_no_stop_says_so(write_space: WriteSpace, tmp_path: Path) -> None:
    stopping = "{scheduler: median, audit_share: 0.001}"
    state = state_with(write_space, tmp_path / "s", stopping)
    (said,) = stopping_notes(search_facts(state, METRIC))
    assert "none of the trials chosen would have been stopped" in said


@pytest.mark.parametrize(
    ("count", "of", "low", "high"), [(0, 10, 0, 0.3085), (2, 20, 0.0123, 0.3170)]
)
def test_interval_of_a_rate_is_that_of_clopper_and_pearson(
    count: int, of: int, low: float, high: float
) -> None:
    assert rate_interval(count, of, 0.05) == pytest.approx((low, high), abs=1e-4)
