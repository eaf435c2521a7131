"""Signals at different moments of a study, in separate processes and with real Ray."""

import ctypes
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karat.errors import StudyError
from karat.execution import engine, local_ray
from karat.execution.engine import Engine
from karat.execution.local_ray import join_ray
from karat.journal.layout import PAUSE_FILE
from karat.space.settings import ResourceConfig
from karat.study.audit import audit
from karat.training import pause
from tests.launched import NO_MLFLOW, Launch, LaunchedStudy
from tests.waiting import wait_until

WriteSpace = Callable[..., Path]
# One trial at a time, where there are two cores: what is tested is the launch.
FEW = (
    *(("epochs: 4", "epochs: 2"), ("trials: 6", "trials: 3")),
    ("confirm:", "resources: {cpus: 2}\nconfirm:"),
    NO_MLFLOW,
)
# An epoch of several seconds, so that a signal comes within it.
LONG_EPOCHS = (
    *(("depth: 1", "depth: 4"), ("embed_dim: 12", "embed_dim: 48")),
    *(("batch_size: 128", "batch_size: 4"), ("trials: 6", "trials: 3")),
    NO_MLFLOW,
)


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files whose path is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def wait_for_handler(study: LaunchedStudy, number: signal.Signals) -> None:
    """Wait until the launch catches a signal."""

    def caught() -> bool:
        assert study.process.poll() is None
        status = Path(f"/proc/{study.process.pid}/status").read_text()
        (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
        return bool(int(mask, 16) >> (number - 1) & 1)

    wait_until(caught, f"a handler of {number.name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("study_created", signal.SIGUSR1),
        ("launched", signal.SIGINT),
        ("segment_started", signal.SIGTERM),
        ("confirmation_planned", signal.SIGTERM),
    ],
)
def test_signal_at_any_moment_is_an_interruption(
    launch: Launch, write_space: WriteSpace, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    study = launch(write_space(*FEW), tmp_path)
    study.wait_for(moment)
    wait_for_handler(study, number)  # at the first moment not all may be there, long before Ray is
    study.interrupt(number)
    assert audit(study.folder) == []


@pytest.mark.slow
def test_sigterm_while_ray_starts_is_an_interruption_and_leaves_no_temporary_files(
    launch: Launch, write_space: WriteSpace, tmp_path: Path, scratch: Path
) -> None:
    study = launch(write_space(*FEW), tmp_path)

    def starts() -> bool:
        assert study.process.poll() is None
        return bool(list(scratch.glob("karat-*/r/session_*")))  # made within `ray.init`

    wait_until(starts, "a session of Ray")
    # When the signal is sent; Ray finishes its start before the study stops.
    assert (study.count("study_created"), study.count("launched")) == (1, 0)
    study.interrupt(signal.SIGTERM)
    assert list(scratch.glob("karat-*")) == []
    assert audit(study.folder) == []


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


@pytest.mark.slow
def test_signal_while_the_program_is_still_loading_is_an_interruption(
    launch: Launch, write_space: WriteSpace, tmp_path: Path
) -> None:
    study = launch(write_space(*FEW), tmp_path)
    wait_for_handler(study, signal.SIGTERM)  # torch takes longer
    study.process.send_signal(signal.SIGTERM)
    study.end(75)
    assert [event.kind for event in study.events][-1:] in (["interrupted"], [])


def pause_within_an_epoch(study: LaunchedStudy, number: signal.Signals) -> int:
    """Send a signal in the middle of an epoch; return how many trials (at least one) paused there."""
    study.wait_for("reported", study.count("reported") + 1)
    (*_, report) = (event for event in study.events if event.kind == "reported")
    time.sleep(report.data["seconds"] / 2)  # the next epoch takes as long
    before = study.count("segment_ended")
    study.interrupt(number)
    ends = [event for event in study.events if event.kind == "segment_ended"][before:]
    within = [e for e in ends if e.data["cause"] == "paused" and e.data["details"]["step"]]
    assert within, ends
    assert audit(study.folder) == []
    return len(within)


@pytest.mark.slow
def test_second_signal_exits_at_once_and_a_single_one_writes_checkpoints_within_the_epoch(
    launch: Launch, write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space(*LONG_EPOCHS)
    study = launch(space, tmp_path)
    study.wait_for("segment_started")
    study.process.send_signal(signal.SIGTERM)
    wait_until(lambda: (study.folder / PAUSE_FILE).read_text() == pause.PAUSE, "the pause")
    study.process.send_signal(signal.SIGTERM)
    # Not 75, with which it ends as soon as the trials have paused or their time for that is over.
    study.end(-signal.SIGTERM)
    assert study.state.status == "running"
    study = launch(space, tmp_path)
    paused = pause_within_an_epoch(study, signal.SIGUSR1)
    assert len(list(study.folder.glob("trials/*/within-*.pt"))) == paused
