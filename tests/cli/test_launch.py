"""The launch as users run it: a separate process with real Ray and real MLflow."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from tests.costs import finished
from tests.launched import Launch, LaunchedStudy

WriteSpace = Callable[..., Path]
# Epochs long enough that two trials are seen side by side.
SLOWER = [
    ("batch_size: 128", "batch_size: 16"),
    ("epochs: 4", "epochs: 3"),
    ("trials: 6", "trials: 4"),
]


def observed_parallelism(study: LaunchedStudy) -> int:
    """Return the largest number of trials that ran at the same time, from the journal's times."""
    running, most = set(), 0
    for event in study.events:
        if event.kind == "segment_started":
            running.add(event.data["trial"])
        elif event.kind == "trial_ended":
            running.discard(event.data["trial"])
        most = max(most, len(running))
    return most


@pytest.mark.slow
def test_interrupted_study_resumes_with_the_same_command_and_runs_once(
    launch: Launch, write_space: WriteSpace, tmp_path: Path
) -> None:
    storage, space = tmp_path / "studies", write_space(*SLOWER)
    study = launch(space, storage)
    study.wait_for("reported", 3)
    output = study.interrupt(signal.SIGINT)
    assert "nothing is lost" in output
    assert f"--space {space}" in output
    assert "Traceback" not in output
    assert study.state.status == "interrupted"

    launch(space, storage).end()
    state = study.state
    assert state.status == "completed"
    assert len(state.of_phase("search")) == 4
    assert len(state.of_phase("confirm")) == 6
    for trial in state.trials.values():
        assert [report.epoch for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert trial.kernels == (
            () if trial.factors["attention.basis"] == "softmax" else ("recompute",)
        )
    events = study.events
    begun = [(e.data["trial"], e.data["segment"]) for e in events if e.kind == "segment_started"]
    reported = {(e.data["trial"], e.data["segment"]) for e in events if e.kind == "reported"}
    assert len(begun) == len(set(begun))
    assert reported <= set(begun)
    if len(os.sched_getaffinity(0)) >= 2:
        assert observed_parallelism(study) >= 2

    journal = study.folder / JOURNAL
    before = journal.read_bytes()
    output = launch(space, storage).end()
    assert "this study is finished" in output
    assert "softmax" in output
    assert journal.read_bytes() == before, "a finished study was gone on with"
    for name in ("report.md", "report.html"):
        assert (study.folder / name).stat().st_size > 1000
    _dashboard_shows_every_trial_once(storage, state)

    output = launch(space, storage, "--set", "training.epochs=2").end(2)
    assert "another question" in output
    assert "training" in output


def _dashboard_shows_every_trial_once(storage: Path, state: StudyState) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [each for each in runs if "mlflow.parentRunId" in each.data.tags]
    assert len(runs) == len(children) + 1
    assert len(children) == len(state.trials)
    assert all(each.info.status in ("FINISHED", "FAILED", "KILLED") for each in runs)
    assert client.search_registered_models()[0].name == "small"


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (("study: small", "study: a/b"), "study = 'a/b'"),
        (("trials: 6", "trials: 0"), "search.trials = 0"),
        (
            ("{name: digits}", "{name: image_folder, root: /nowhere}"),
            "/nowhere: there is no such folder",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    write_space: WriteSpace, tmp_path: Path, exchange: tuple[str, str], message: str
) -> None:
    words = ["--space", str(write_space(exchange)), "--storage", str(tmp_path / "studies")]
    found = finished("launch.py", *words)
    assert found.status == 2
    assert message in found.error
    assert len(found.error.strip().splitlines()) == 1
    assert not (tmp_path / "studies").exists()


def test_dry_run_shows_the_plan_and_writes_nothing(write_space: WriteSpace, tmp_path: Path) -> None:
    words = ["--space", str(write_space()), "--storage", str(tmp_path / "studies")]
    found = finished("launch.py", *words, "--dry-run")
    assert found.status == 0
    for text in (
        "fourier grid_size=2",
        "6 trials",
        "excluded",
        "on this machine",
        "p90",
        "CPU-hours",
    ):
        assert text in found.output
    assert not (tmp_path / "studies").exists()
