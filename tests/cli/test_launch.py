"""The launch as users run it: a separate process with real Ray and real MLflow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time

WriteSpace = Callable[..., Path]
# Epochs long enough that two trials are seen side by side.
SLOWER = [("batch_size: 128", "batch_size: 8"), ("epochs: 4", "epochs: 3")]


def command(space: Path, storage: Path, *more: str) -> list[str]:
    return [sys.executable, "launch.py", "--space", str(space), "--storage", str(storage), *more]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=280, env=environment
    )


def state_of(storage: Path) -> StudyState:
    return StudyState.of(read_events(storage / "small" / JOURNAL))


def observed_parallelism(storage: Path) -> int:
    """Return the largest number of trials that ran at the same time, from the journal's times."""
    running, most = set(), 0
    for event in read_events(storage / "small" / JOURNAL):
        if event.kind == "segment_started":
            running.add(event.data["trial"])
        elif event.kind == "trial_ended":
            running.discard(event.data["trial"])
        most = max(most, len(running))
    return most


@pytest.mark.timeout(300)
def test_interrupted_study_resumes_with_the_same_command_and_runs_once(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    storage = tmp_path / "studies"
    words = command(write_space(*SLOWER), storage)
    first = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    journal = storage / "small" / JOURNAL
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and first.poll() is None:
        if journal.exists() and sum(e.kind == "reported" for e in read_events(journal)) >= 3:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 75, output
    assert "nothing is lost" in output
    assert f"--space {words[3]}" in output
    assert "Traceback" not in output
    before = state_of(storage)
    assert before.status == "interrupted"

    second = run(words)
    assert second.returncode == 0, second.stdout + second.stderr
    state = state_of(storage)
    assert state.status == "completed"
    assert len(state.of_phase("search")) == 6
    assert len(state.of_phase("confirm")) == 6
    for trial in state.trials.values():
        assert [report.epoch for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert trial.kernels == (
            () if trial.factors["attention.basis"] == "softmax" else ("recompute",)
        )
    events = list(read_events(journal))
    placed = [(e.data["trial"], e.data["segment"]) for e in events if e.kind == "segment_placed"]
    reported = {(e.data["trial"], e.data["segment"]) for e in events if e.kind == "reported"}
    assert len(placed) == len(set(placed))
    assert reported <= set(placed)
    if len(os.sched_getaffinity(0)) >= 2:
        assert observed_parallelism(storage) >= 2

    before = journal.read_bytes()
    third = run(words)
    assert third.returncode == 0
    assert "this study is finished" in third.stdout
    assert "softmax" in third.stdout
    assert journal.read_bytes() == before, "a finished study was gone on with"
    for name in ("report.md", "report.html"):
        assert (storage / "small" / name).stat().st_size > 1000
    _dashboard_shows_every_trial_once(storage, state)

    other = run([*words, "--set", "training.epochs=2"])
    assert other.returncode == 2
    assert "another question" in other.stderr
    assert "training" in other.stderr


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
        (("{name: digits}", "{name: image_folder, root: /nowhere}"), "/nowhere/train"),
        (("confirm:", "resources: {cpus: 999}\nconfirm:"), "resources.cpus = 999"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    write_space: WriteSpace, tmp_path: Path, exchange: tuple[str, str], message: str
) -> None:
    done = run(command(write_space(exchange), tmp_path / "studies"))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "studies").exists()


def test_dry_run_shows_the_plan_and_writes_nothing(write_space: WriteSpace, tmp_path: Path) -> None:
    done = run(command(write_space(), tmp_path / "studies", "--dry-run"))
    assert done.returncode == 0
    for text in (
        "fourier grid_size=2",
        "6 trials",
        "excluded",
        "on this machine",
        "p90",
        "CPU-hours",
    ):
        assert text in done.stdout
    assert not (tmp_path / "studies").exists()
