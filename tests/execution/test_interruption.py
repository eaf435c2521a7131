"""Signals at different moments of a study, in separate processes and with real Ray."""

import ctypes
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karat.cli.main import main
from karat.errors import StudyError
from karat.execution import engine, local_ray
from karat.execution.engine import GRACE_S, Engine
from karat.execution.local_ray import join_ray
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL, PAUSE_FILE
from karat.journal.state import StudyState
from karat.space.settings import ResourceConfig
from karat.study.audit import audit
from karat.training import pause
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time

WriteSpace = Callable[..., Path]
FEW = (("epochs: 4", "epochs: 2"), ("trials: 6", "trials: 3"))
# An epoch of several seconds, so that a signal comes within it.
LONG_EPOCHS = (
    *(("depth: 1", "depth: 6"), ("embed_dim: 12", "embed_dim: 48")),
    *(("batch_size: 128", "batch_size: 4"), ("trials: 6", "trials: 3")),
)


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files whose path is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def start(space: Path, storage: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "launch.py", "--space", str(space), "--storage", str(storage)]
    return subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def events_of(storage: Path) -> list[Event]:
    journal = storage / "small" / JOURNAL
    return list(read_events(journal)) if journal.exists() else []


def wait_for(storage: Path, kind: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if any(event.kind == kind for event in events_of(storage)):
            return
        time.sleep(0.02)
    raise AssertionError(f"{kind} did not come")


def wait_for_handler(process: subprocess.Popen[str]) -> None:
    """Wait until the launch catches SIGTERM."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.02)
    raise AssertionError("no handler was installed")


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("study_created", "SIGUSR1"),
        ("launched", "SIGINT"),
        ("segment_started", "SIGTERM"),
        ("reported", "SIGUSR1"),
        ("confirmation_planned", "SIGTERM"),
    ],
)
def test_signal_at_any_moment_is_an_interruption(
    write_space: WriteSpace, tmp_path: Path, moment: str, name: str
) -> None:
    process = start(write_space(*FEW), tmp_path)
    wait_for(tmp_path, moment, process)
    if moment == "study_created":
        time.sleep(0.5)  # until the handlers are in place, long before Ray is up
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 75, output
    assert f"interrupted by {name}" in output
    assert events_of(tmp_path)[-1].kind == "interrupted"
    assert main(["audit", str(tmp_path / "small")]) == 0


@pytest.mark.timeout(200)
def test_sigterm_while_ray_starts_is_an_interruption_and_leaves_no_temporary_files(
    write_space: WriteSpace, tmp_path: Path, scratch: Path
) -> None:
    process = start(write_space(*FEW), tmp_path)
    deadline = time.monotonic() + 100
    while not list(scratch.glob("karat-*/r/session_*")):  # made within `ray.init`
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    seen = {event.kind for event in events_of(tmp_path)}
    output, _ = process.communicate(timeout=100)
    assert "study_created" in seen
    assert "launched" not in seen
    assert process.returncode == 75, output
    assert "interrupted by SIGTERM" in output
    assert events_of(tmp_path)[-1].kind == "interrupted"
    assert list(scratch.glob("karat-*")) == []
    assert main(["audit", str(tmp_path / "small")]) == 0


def test_ray_does_not_take_sigterm_when_it_is_joined() -> None:
    """Fails if a new version of Ray sets its handler by another function."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Exception, match="nobody"):  # logged after the handler is installed
        join_ray("nobody://at-home", ResourceConfig())
    assert signal.getsignal(signal.SIGTERM) == before


def handler_of_the_system() -> bytes:
    """Address of what is called on SIGTERM, by the system's word: Python does not see what C++ sets."""
    found = ctypes.create_string_buffer(256)
    ctypes.CDLL(None).sigaction(signal.SIGTERM, None, found)
    return found.raw[:8]


def test_sigterm_handler_is_restored_after_ray_has_started_and_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    taken = []

    def take(**_: object) -> None:  # as Ray does, in `init` and in `shutdown`
        ctypes.CDLL(None).signal(signal.SIGTERM, signal.SIG_DFL)
        taken.append(handler_of_the_system())

    monkeypatch.setattr(ray, "init", take)
    monkeypatch.setattr(ray, "shutdown", take)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ours = handler_of_the_system()
        local_ray.init_ray()
        assert handler_of_the_system() == ours
        local_ray.end_ray()
        assert handler_of_the_system() == ours
        assert len(taken) == 2
        assert ours not in taken
    finally:
        signal.signal(signal.SIGTERM, before)


def test_node_that_is_not_up_in_time_is_an_error_that_a_retry_may_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    def is_late(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", is_late)
    with pytest.raises(ConnectionError, match="timed out during startup"):
        local_ray.init_ray()


def test_engine_that_does_not_start_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StudyError("no")

    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(engine, "make_tempdir", lambda: folder)
    monkeypatch.setattr(engine, "start_ray", refuse)
    monkeypatch.setattr(engine, "prepare_environment", lambda _: None)
    with pytest.raises(StudyError, match="no"), Engine(ResourceConfig()):
        pass
    assert not folder.exists()


def test_signal_while_the_program_is_still_loading_is_an_interruption(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    process = start(write_space(*FEW), tmp_path)
    wait_for_handler(process)  # torch takes longer
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 75, output
    assert [event.kind for event in events_of(tmp_path)][-1:] in (["interrupted"], [])


@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_running_trials_write_a_checkpoint_within_the_epoch_and_resume_from_it(
    write_space: WriteSpace, tmp_path: Path, number: signal.Signals
) -> None:
    space = write_space(*LONG_EPOCHS)
    process = start(space, tmp_path)
    wait_for(tmp_path, "reported", process)  # the next epoch begins then
    time.sleep(1)
    process.send_signal(number)
    asked = time.monotonic()
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 75, output
    assert time.monotonic() - asked < 60
    ends = [event for event in events_of(tmp_path) if event.kind == "segment_ended"]
    assert ends
    within = [e for e in ends if e.data["cause"] == "paused" and e.data["details"]["step"]]
    assert within, ends
    assert audit(tmp_path / "small", tracking=False) == []
    kept = list((tmp_path / "small").glob("trials/*/within-*.pt"))
    assert len(kept) == len(within)


@pytest.mark.timeout(200)
def test_second_signal_exits_at_once_and_loses_nothing(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space(*LONG_EPOCHS)
    process = start(space, tmp_path)
    wait_for(tmp_path, "segment_started", process)
    process.send_signal(signal.SIGTERM)
    while (tmp_path / "small" / PAUSE_FILE).read_text() != pause.PAUSE:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    process.communicate(timeout=100)
    assert time.monotonic() - asked < GRACE_S  # the first signal had given this time to the trials
    assert process.returncode == -signal.SIGTERM
    state = StudyState.of(events_of(tmp_path))
    assert state.status == "running"
    again = start(space, tmp_path)
    wait_for(tmp_path, "segment_ended", again)
    again.send_signal(signal.SIGTERM)
    output, _ = again.communicate(timeout=100)
    assert again.returncode == 75, output
    assert audit(tmp_path / "small", tracking=False) == []
