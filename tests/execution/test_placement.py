"""Use of predictions in a study: a trial's share of a GPU, the journal and the report."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from karat.execution import placement
from karat.execution.placement import place
from karat.forecast.predictions import Prediction, Predictions
from karat.report.sections import sections
from karat.report.writer import summarise
from karat.space.reader import load_space
from karat.space.space import Space
from karat.training.segment import Estimate
from tests.study.test_study import open_study

GB = 2**30


@pytest.fixture
def packed_space(write_space: Callable[..., Path]) -> Space:
    return load_space(write_space(("confirm:", "resources: {gpus: auto}\nconfirm:")))


@pytest.fixture(autouse=True)
def a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 GiB, of which Fourier needs more than softmax."""

    def of(self: Predictions, sections: dict[str, dict[str, object]], _: int = 1) -> Prediction:
        needed = 8 if sections["attention"]["basis"] == "softmax" else 30
        return Prediction(memory_bytes=needed * GB, epoch_s=2.0, is_probed=True)

    monkeypatch.setattr(Predictions, "of", of)
    monkeypatch.setattr(Predictions, "unknown", lambda *_: [])
    monkeypatch.setattr(placement, "gpu_bytes", lambda: 80 * GB)


def test_each_trial_gets_a_share_of_the_gpu_that_fits_it(
    packed_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(packed_space, tmp_path / "s")
    with journal:
        resources = place(study, Console(quiet=True))
        assert resources.gpus == 1 / 8
        found = {}
        while len(study.state.trials) < 6 and (segment := study.next_segment()) is not None:
            trial = study.state.trials[segment.trial]
            assert segment.gpus == study.gpus_of(trial)
            found[trial.factors["attention.basis"]] = segment.gpus
            assert trial.estimate == {
                "memory_bytes": (8 if segment.gpus == 1 / 8 else 30) * GB,
                "epoch_s": 2.0,
                "gpus": segment.gpus,
            }
    assert found == {"softmax": 1 / 8, "fourier": 1 / 2}


def test_report_shows_predicted_beside_measured_memory(packed_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(packed_space, tmp_path / "s")
    study.estimate = lambda _: Estimate(memory_bytes=11 * GB, epoch_s=3.0, gpus=None)
    with journal:
        study.record("launched", slots=1, environment={})
        segment = study.next_segment()
        assert segment is not None
        assert segment.gpus == 1
        report = {"epoch": 1, "metrics": {"val_accuracy": 0.5}, "seconds": 2.0}
        study.on_worker_report(segment.trial, {**report, "kernels": (), "peak_bytes": 10 * GB})
        study.on_worker_report(segment.trial, {**report, "epoch": 2})
    search = next(each for each in sections(summarise(study.state)) if each.title == "Search")
    (row,) = search.tables[1].rows
    assert row[1:] == ("1", "11.00 GiB", "10.00 GiB", "+10 %", "3", "2", "+50 %")


def test_study_without_predictions_has_no_table_of_them(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        assert place(study, Console(quiet=True)) == small_space.resources
        study.record("launched", slots=1, environment={})
        study.next_segment()
    search = next(each for each in sections(summarise(study.state)) if each.title == "Search")
    assert len(search.tables) == 1
