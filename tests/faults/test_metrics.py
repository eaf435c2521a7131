"""Metrics that are not numbers, or missing, in the first, a middle and the last report."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import failure_text, study_text, trial_text
from karat.study.audit import audit
from tests.faults.inline import launch
from tests.faults.test_causes import optuna_trials
from tests.marks import further
from tests.study.test_study import open_study

WriteSpace = Callable[..., Path]
NO_STOPPING = ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none")


@pytest.mark.parametrize(
    ("spoiled", "cause", "reason"),
    further(
        [
            ("nan", "non-finite", "val_accuracy is nan at epoch"),
            ("inf", "non-finite", "val_accuracy is inf at epoch"),
            ("missing", "error", "TrialError: val_accuracy is missing at epoch"),
        ]
    ),
)
@pytest.mark.parametrize("report", further([2, 1, 4]))
def test_corrupt_metric_fails_its_trial_and_the_sampler_is_told(
    write_space: WriteSpace, tmp_path: Path, spoiled: str, cause: str, reason: str, report: int
) -> None:
    folder = tmp_path / "s"
    space = write_space(
        NO_STOPPING, ("trials: 6", "trials: 3"), ("batch_size: 128", "batch_size: 256")
    )
    assert launch(space, folder, f"metrics@{report}={spoiled}:{tmp_path / 'once'}") == 0
    state = StudyState.of(read_events(folder / JOURNAL))
    trial = state.trials[0]
    assert (trial.status, trial.cause) == ("failed", cause)
    assert f"{reason} {report}" in trial_text(trial)
    assert [each.epoch for each in trial.reports] == list(range(1, report))
    assert state.status == "completed"
    assert audit(folder, tracking=False) == []
    from karat.space.reader import load_space

    study, journal = open_study(load_space(space), folder)
    with journal:
        assert optuna_trials(study, trial).state.name == "FAIL"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_report_that_is_not_a_number_never_reaches_the_journal(
    write_space: WriteSpace, tmp_path: Path, value: float | None
) -> None:
    from karat.space.reader import load_space

    study, journal = open_study(load_space(write_space()), tmp_path / "s")
    with journal:
        assert study.next_segment() is not None
        metrics = {"val_loss": 1.0} if value is None else {"val_accuracy": value, "val_loss": 1.0}
        assert study.on_report(0, 1, metrics, 1.0)
        assert study.state.trials[0].status == "failed"
    assert audit(tmp_path / "s", tracking=False) == []


def test_study_in_which_every_trial_diverges_ends_as_failed(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    diverging = ("batch_size: 128", "batch_size: 128, clip_grad: 0, weight_decay: 1e30")
    assert launch(write_space(diverging), folder) == 1
    state = StudyState.of(read_events(folder / JOURNAL))
    assert {trial.cause for trial in state.trials.values()} == {"non-finite"}
    assert (state.status, study_text(state)) == ("failed", "no trial was completed")
    assert audit(folder, tracking=False) == []


@pytest.mark.slow
def test_dead_process_that_loads_data_is_a_lost_worker(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    loading = ("batch_size: 128", "batch_size: 128, workers: 1")
    assert launch(write_space(loading), folder, f"loader@1=kill:{tmp_path / 'once'}") == 0
    state = StudyState.of(read_events(folder / JOURNAL))
    assert (tmp_path / "once").exists()
    assert state.status == "completed"
    ends = [e.data for e in read_events(folder / JOURNAL) if e.kind == "segment_ended"]
    assert [end["cause"] for end in ends] == ["lost"]
    assert "DataLoader worker" in failure_text("lost", ends[0]["details"])
    assert not any(trial.status == "failed" for trial in state.trials.values())
    assert audit(folder, tracking=False) == []
