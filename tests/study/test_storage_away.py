"""Storage that becomes unavailable during a study: the error is one line, and handlers do not raise more."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from karat.cli.exit_status import guarded
from karat.cli.main import main
from karat.errors import JournalError, JournalWriteError
from karat.execution import engine
from karat.execution.engine import Engine
from karat.execution.tune_adapters import StudySearcher
from karat.journal import journal
from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL, PAUSE_FILE
from karat.space.settings import ResourceConfig


def fail(number: int) -> Any:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine that runs a study whose folder no longer exists."""
    monkeypatch.setattr(engine, "GRACE_S", 0.05)
    monkeypatch.setattr(engine, "make_tempdir", lambda: tmp_path)
    found = Engine(ResourceConfig())
    found._pause_file = tmp_path / "gone" / PAUSE_FILE
    return found


def test_stop_ends_the_run_after_the_grace_period_if_the_pause_file_cannot_be_written(
    running: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(running, "_end", ended.set)
    running.stop()
    assert running.stopped
    assert ended.wait(10)
    assert "could not be asked to stop" in caplog.text


def test_first_error_is_kept_if_the_stop_fails_too(
    running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_end", lambda: None)
    searcher = StudySearcher(None, running)  # type: ignore[arg-type]

    def append() -> None:
        raise JournalError("journal.jsonl: could not be written (Read-only file system)")

    assert searcher.guard(append) is None
    assert isinstance(searcher.error, JournalError)


@pytest.mark.parametrize("fails", [("fsync", "ftruncate"), ("fstat",)])
def test_journal_reports_a_failed_write_that_cannot_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, ...]
) -> None:
    with Journal.open(tmp_path) as written:
        written.append("study_created", number=0)
        with monkeypatch.context() as away:
            for name in fails:
                away.setattr(journal.os, name, fail(errno.ESTALE))
            with pytest.raises(
                JournalWriteError, match=r"could not be written \(Stale file handle\)"
            ):
                written.append("launched", number=1)
        with pytest.raises(JournalWriteError, match="takes no more events"):
            written.append("launched", number=2)
    with Journal.open(tmp_path) as again:
        again.append("launched", number=3)
    numbers = [event.data["number"] for event in read_events(tmp_path / JOURNAL)]
    assert (numbers[0], numbers[-1]) == (0, 3)
    assert 2 not in numbers


def test_error_of_the_system_is_one_line_and_exit_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / JOURNAL).touch()
    monkeypatch.setattr(journal, "read_events", fail(errno.EIO))
    assert main(["report", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: Input/output error\n"


def test_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> int:
        return len(Path("/does/not/exist").read_text())

    assert guarded(read) == 1
    assert capsys.readouterr().err == "error: /does/not/exist: No such file or directory\n"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free disk space and run the same command again"),
        (errno.EROFS, "make its file system writable and run the same command again"),
        (errno.EIO, "make the storage work again and run the same command again"),
    ],
)
def test_journal_that_takes_no_event_interrupts_with_one_line_that_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    remedy: str,
) -> None:
    def write() -> int:
        with Journal.open(tmp_path) as written:
            monkeypatch.setattr(journal.os, "fsync", fail(number))
            written.append("launched", number=0)
        return 0

    assert guarded(write) == 75
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / JOURNAL}: could not be written ")
    assert said.endswith(f"{remedy}\n")
    assert said.count("\n") == 1
