"""Real Ray, real MLflow: a worker is killed, or the driver with all processes that it started."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from karat.cli.main import main
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import trial_text
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time

WriteSpace = Callable[..., Path]
FEW = (("epochs: 4", "epochs: 3"), ("trials: 6", "trials: 4"))
SLOWER = (("epochs: 4", "epochs: 30"), ("depth: 1", "depth: 4"))


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def start(space: Path, storage: Path, *more: str, fault: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "launch.py", "--space", str(space), "--storage", str(storage), *more],
        cwd=ROOT,
        env={**os.environ, "KARAT_FAULT": fault, "OF_TEST": str(storage.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def state_of(storage: Path) -> StudyState:
    return StudyState.of(read_events(storage / "small" / JOURNAL))


def wait_for_reports(storage: Path, count: int, process: subprocess.Popen[str]) -> None:
    journal, deadline = storage / "small" / JOURNAL, time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and sum(e.kind == "reported" for e in read_events(journal)) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{count} reports did not come")


def ours(folder: Path) -> Iterator[str]:
    """Return the processes that the test with this folder started, directly or indirectly."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("OF_TEST") == str(folder):
                yield f"{process.pid} {' '.join(process.cmdline())[:100]}"
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


@pytest.fixture(autouse=True)
def no_shared_memory_left() -> Iterator[None]:
    before = set(os.listdir("/dev/shm"))
    yield
    ours = {path for path in set(os.listdir("/dev/shm")) - before if "plasma" in path}
    assert not ours


def assert_nothing_left(folder: Path) -> None:
    deadline = time.monotonic() + 40
    while (left := list(ours(folder))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left


@pytest.mark.timeout(300)
def test_killed_worker_costs_a_segment_and_nothing_else(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    storage = tmp_path / "studies"
    fault = f"checkpoint.rename.before@3=kill:{tmp_path / 'once'}"
    finish(start(write_space(*FEW), storage, fault=fault))
    state = state_of(storage)
    assert state.status == "completed"
    assert sum(trial.lost_segments for trial in state.trials.values()) == 1
    assert not any(trial.status == "failed" for trial in state.trials.values())
    assert main(["audit", str(storage / "small")]) == 0
    assert main(["replay", str(storage / "small")]) == 0
    assert_nothing_left(tmp_path)


@pytest.mark.timeout(300)
def test_trial_whose_worker_is_killed_too_often_fails_alone(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    storage = tmp_path / "studies"
    fault = f"trial1.step@1=kill:{tmp_path / 'once'}*4"
    finish(start(write_space(*FEW), storage, fault=fault))
    state = state_of(storage)
    assert state.status == "completed"
    assert [t.number for t in state.trials.values() if t.status == "failed"] == [1]
    trial = state.trials[1]
    assert (trial.cause, trial_text(trial)) == ("lost", "its worker was lost 4 times")
    starts = [
        event.time
        for event in read_events(storage / "small" / JOURNAL)
        if event.kind == "segment_started" and event.data["trial"] == 1
    ]
    assert len(starts) == 4
    waits = [after - before for before, after in itertools.pairwise(starts)]
    assert all(waited > least for waited, least in zip(waits, (1, 5, 25), strict=True))
    assert main(["audit", str(storage / "small")]) == 0
    assert main(["replay", str(storage / "small")]) == 0
    assert_nothing_left(tmp_path)


@pytest.mark.timeout(300)
def test_hanging_trial_is_killed_and_reports_where_it_hung(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    storage = tmp_path / "studies"
    fault = f"step.before@2=hang:{tmp_path / 'once'}"
    limit = "resources.minutes_per_epoch=1"
    finish(start(write_space(*FEW), storage, "--set", limit, fault=fault))
    (failed,) = [t for t in state_of(storage).trials.values() if t.status == "failed"]
    assert failed.cause == "hung"
    assert "reported nothing for 1 minutes; where it hung: " in trial_text(failed)
    trace = Path(trial_text(failed).partition("where it hung: ")[2]).read_text()
    assert "in trigger" in trace
    assert main(["audit", str(storage / "small")]) == 0


@pytest.mark.timeout(300)
def test_killed_driver_leaves_nothing_behind_and_the_same_command_resumes(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    storage, space = tmp_path / "studies", write_space(*SLOWER, ("trials: 6", "trials: 3"))
    first = start(space, storage)
    wait_for_reports(storage, 4, first)
    second = start(space, storage)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "this study is already running" in output
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    before = state_of(storage)
    assert_nothing_left(tmp_path)
    finish(start(space, storage))
    after = state_of(storage)
    assert after.status == "completed"
    for number, trial in before.trials.items():
        if trial.ended:
            assert after.trials[number].reports == trial.reports
    assert main(["audit", str(storage / "small")]) == 0
    assert main(["replay", str(storage / "small")]) == 0
