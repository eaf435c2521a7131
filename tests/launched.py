"""Studies as users start them, in separate processes, which are killed at the end of a test."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from karat.cli.main import main
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL, MLFLOW_DATABASE
from karat.journal.state import StudyState
from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parent.parent
OWNER = "OF_TEST"  # a variable of every process that a test has started, directly or not
NAME = "small"
# An exchange of the small space, for what is not about MLflow: its process takes as long as a trial.
NO_MLFLOW = ("confirm:", "tracking: {follow: false}\nconfirm:")


class LaunchedStudy:
    """`python launch.py` at work on a study.

    Args:
        space: the question; its name is `NAME`.
        storage: the root of all studies.
        more: words of the command.
        fault: as `KARAT_FAULT` has it.
        command: in place of `python launch.py`.
        environment: in place of the test's own.
    """

    def __init__(
        self,
        space: Path,
        storage: Path,
        *more: str,
        fault: str = "",
        command: Sequence[str] = (sys.executable, "launch.py"),
        **environment: str,
    ) -> None:
        self.folder = storage / NAME
        self.words = ["launch.py", "--space", str(space), "--storage", str(storage), *more]
        self._own = space.parent
        # A file: a pipe would have to be read before it is full, and to its end by all that it has.
        file, name = tempfile.mkstemp(prefix="screen-", dir=self._own)
        self._screen = Path(name)
        self.process = subprocess.Popen(
            [*command, *self.words[1:]],
            cwd=ROOT,
            env={**os.environ, "KARAT_FAULT": fault, OWNER: str(self._own), **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        os.close(file)

    @property
    def events(self) -> list[Event]:
        """Of its journal, so far."""
        journal = self.folder / JOURNAL
        return list(read_events(journal)) if journal.exists() else []

    @property
    def state(self) -> StudyState:
        """As its journal has it now."""
        return StudyState.of(self.events)

    def count(self, kind: str) -> int:
        """How often an event of this kind came."""
        return sum(event.kind == kind for event in self.events)

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Until so many events of this kind came."""

        def came() -> bool:
            ended = self.process.poll() is not None  # asked first: its last events count
            if self.count(kind) >= count:
                return True
            assert not ended, f"ended without {kind}: {self.said()}"
            return False

        wait_until(came, f"{count} {kind}")

    def end(self, status: int = 0) -> str:
        """Wait until it exits with this status; return its output."""
        assert self.process.wait(PATIENCE_S) == status, self.said()
        return self.said()

    def said(self) -> str:
        """Return its output so far."""
        return self._screen.read_text()

    def kill(self) -> None:
        """Kill it; the processes that it started exit by themselves."""
        self.process.kill()
        self.process.wait()

    def interrupt(self, number: signal.Signals) -> str:
        """Send a signal and wait until it exits as interrupted; return its output."""
        self.process.send_signal(number)
        output = self.end(75)
        assert f"interrupted by {number.name}" in output
        assert self.events[-1].kind == "interrupted"
        return output

    def check(self) -> None:
        """Its audit finds nothing, and a replay takes the same decisions."""
        assert main(["audit", str(self.folder)]) == 0
        assert main(["replay", str(self.folder)]) == 0

    def left(self) -> list[str]:
        """Processes of it that run."""
        found = []
        for each in processes_of(self._own):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends at this moment
                found.append(f"{each.pid} {' '.join(each.cmdline())[:100]}")
        return found


class Launch(Protocol):
    """Start a study; if it still runs at the end of the test it is killed."""

    def __call__(
        self,
        space: Path,
        storage: Path,
        *more: str,
        fault: str = "",
        command: Sequence[str] = ...,
        **environment: str,
    ) -> LaunchedStudy: ...


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """Return the processes, direct or indirect, of studies whose space is in this folder."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(OWNER) == str(folder):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Iterator[Launch]:
    """Start studies, without an MLflow server unless the test gives one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    started: list[LaunchedStudy] = []

    def start(space: Path, storage: Path, *more: str, **others: Any) -> LaunchedStudy:
        database = storage / MLFLOW_DATABASE
        if not database.exists():
            storage.mkdir(exist_ok=True)
            shutil.copy(empty_database, database)
        started.append(LaunchedStudy(space, storage, *more, **others))
        return started[-1]

    yield start  # type: ignore[misc]
    for study in started:
        study.kill()
