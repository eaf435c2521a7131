"""A study has one writer; a dead owner is distinguished from a living one, also on another machine."""

import dataclasses
import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from karat.errors import StudyLockedError
from karat.journal import lock as studylock
from karat.journal.layout import LOCK
from karat.journal.lock import StudyLock, is_locked
from karat.system.process import identity
from karat.system.process.identity import ProcessIdentity
from tests.conftest import ROOT
from tests.waiting import wait_until


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that grants every lock."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def no_locks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A file system without locks, such as Lustre without `-o flock`."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def write_owner(folder: Path, owner: ProcessIdentity) -> None:
    (folder / LOCK).write_text(json.dumps(dataclasses.asdict(owner)))


def dead_process() -> ProcessIdentity:
    code = "import json, dataclasses; from karat.system.process.identity import ProcessIdentity as P; print(json.dumps(dataclasses.asdict(P.own())))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    found = ProcessIdentity.read(json.loads(done.stdout))
    assert found is not None
    return found


def living_process() -> ProcessIdentity:
    """Identity of the parent process."""
    return dataclasses.replace(
        ProcessIdentity.own(), pid=os.getppid(), started=identity._started(os.getppid())
    )


def test_released_lock_is_empty_and_free(tmp_path: Path) -> None:
    lock = StudyLock.take(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert is_locked(tmp_path)
    lock.release()
    assert (tmp_path / LOCK).read_text() == ""
    assert not is_locked(tmp_path)


def test_dead_owner_is_logged_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_owner(tmp_path, dead_process())
    assert not is_locked(tmp_path)
    StudyLock.take(tmp_path).release()
    assert "exited unexpectedly and left the study" in caplog.text


def test_another_process_with_the_id_of_the_owner_is_not_the_owner(tmp_path: Path) -> None:
    write_owner(tmp_path, dataclasses.replace(dead_process(), pid=os.getppid()))
    StudyLock.take(tmp_path).release()


@pytest.mark.usefixtures("no_flock")
def test_living_owner_is_found_where_locks_do_not_work(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path; from karat.journal.lock import StudyLock; "
         "StudyLock.take(Path(sys.argv[1])); print('taken', flush=True); time.sleep(60)", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "taken\n"
    assert is_locked(tmp_path)
    with pytest.raises(StudyLockedError, match=f"process {child.pid} on "):
        StudyLock.take(tmp_path)
    child.kill()
    child.communicate()
    StudyLock.take(tmp_path).release()


@pytest.mark.usefixtures("no_locks")
def test_identity_of_the_owner_decides_on_a_file_system_without_locks(tmp_path: Path) -> None:
    lock = StudyLock.take(tmp_path)
    assert is_locked(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)
    write_owner(tmp_path, dataclasses.replace(ProcessIdentity.own(), pid=os.getppid(), started=""))
    StudyLock.take(tmp_path).release()
    write_owner(tmp_path, living_process())
    assert is_locked(tmp_path)
    with pytest.raises(StudyLockedError, match=f"process {os.getppid()} on "):
        StudyLock.take(tmp_path)


def test_a_lock_refused_for_any_other_reason_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"):
        StudyLock.take(tmp_path)
    assert (tmp_path / LOCK).read_text() == ""


def test_lock_of_a_study_that_was_put_aside_is_no_lock_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, aside = tmp_path / "s", tmp_path / "s.aside"
    study.mkdir()
    first = StudyLock.take(study)
    real = studylock._locked

    def put_aside_meanwhile(file: int) -> bool:  # the file is already open
        study.rename(aside)
        first.release()
        study.mkdir()
        return real(file)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(studylock, "_locked", put_aside_meanwhile)
        with pytest.raises(StudyLockedError, match="has just put this study aside"):
            StudyLock.take(study)
    assert (aside / LOCK).read_text() == ""
    StudyLock.take(study).release()


@pytest.mark.usefixtures("no_flock")
def test_one_of_two_processes_that_start_at_once_is_refused(tmp_path: Path) -> None:
    other = ProcessIdentity("node7", 123, "x")
    with pytest.raises(StudyLockedError, match="process 123 on node7"):
        StudyLock.take(tmp_path, sleep=lambda _: write_owner(tmp_path, other))
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == 123


@pytest.mark.usefixtures("no_flock")
def test_owner_on_another_machine_is_watched_for_a_heartbeat(tmp_path: Path) -> None:
    other = ProcessIdentity("node7", 123, "x")
    write_owner(tmp_path, other)
    file = tmp_path / LOCK
    seconds = iter(range(10))

    def lives(_: float) -> None:
        if next(seconds) == 3:
            os.utime(file, ns=(0, time.time_ns()))

    with pytest.raises(StudyLockedError, match="process 123 on node7"):
        StudyLock.take(tmp_path, watch_s=8, sleep=lives)
    StudyLock.take(tmp_path, watch_s=8, sleep=lambda _: None).release()


def test_owner_sends_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studylock, "HEARTBEAT_S", 0.05)
    lock = StudyLock.take(tmp_path)
    os.utime(tmp_path / LOCK, (0, 0))
    wait_until(lambda: (tmp_path / LOCK).stat().st_mtime > 0, "a heartbeat")
    lock.release()


@pytest.mark.parametrize("text", ["", "process 1 on host", "{}", '{"pid": "x"}', "[1]", "\x00\xff"])
def test_lock_without_a_valid_owner_is_taken(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_bytes(text.encode("latin-1"))
    StudyLock.take(tmp_path).release()
