"""Keeps the process alive that keeps MLflow up to date; whatever becomes of it, training goes on."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from rich.console import Console

from karat.journal.journal import Event
from karat.journal.layout import SYNC_LOG
from karat.journal.state import StudyState
from karat.system.paths import add_to_python_path

START_AFTER_S = 10.0  # in which the first workers have the CPU to themselves
_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0  # before the view is started anew, doubled each time
_LOOK_S = 1.0
_PATIENCE_S = 120.0  # for what the view still has to say at the end
log = logging.getLogger(__name__)


def view_command(folder: Path) -> list[str]:
    """What runs as the view of the study in `folder`.

    `-P`: it starts in the user's folder, from which no code is to be taken.
    """
    return [sys.executable, "-P", "-m", "karat", "sync", str(folder), "--follow"]


class Dashboard:
    """Keeps MLflow up to date from a process of its own, whose stdin tells it that we live.

    It starts with the first report or end of a trial, and `START_AFTER_S` after the first segment
    at the latest; it reads the journal from its beginning anyway. A view that ends, or cannot be
    started, is started anew after a pause, and once more when the study leaves off.

    Args:
        folder: the study's.
        console: where it is said if the dashboard is behind in the end.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder, self._console = folder, console
        self._log = folder / SYNC_LOG
        self._environment = dict(os.environ)  # the engine takes credentials out of ours
        add_to_python_path(self._environment)
        self._view: subprocess.Popen[bytes] | None = None
        self._begun, self._due, self._closing = (threading.Event() for _ in range(3))
        self._keeper = threading.Thread(target=self._keep, name="dashboard", daemon=True)

    def on_event(self, event: Event, _: StudyState) -> None:
        """For the study's listeners."""
        if event.kind in ("segment_started", "reported", "trial_ended"):
            self._begun.set()
        if event.kind in ("reported", "trial_ended"):
            self._due.set()

    def __enter__(self) -> None:
        self._keeper.start()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._due.set()
        self._begun.set()
        self._keeper.join()
        if not self._runs():
            self._start()
        if self._ends_well():
            return
        self._console.print(
            f"the dashboard is behind (see {self._log}); nothing is lost, "
            f"and `python -m karat sync {self._folder}` brings it up to date",
            markup=False,
            soft_wrap=True,
        )

    def _keep(self) -> None:
        """See that the view runs, from when it is due until the study leaves off."""
        self._begun.wait()
        self._due.wait(START_AFTER_S)
        pause_s = _PAUSE_S
        while not self._closing.is_set():
            if self._start():
                self._watch()
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _watch(self) -> None:
        while self._runs():
            if self._closing.wait(_LOOK_S):
                return
        assert self._view is not None
        status = self._view.returncode
        log.warning("the dashboard's process ended with status %d (see %s)", status, self._log)

    def _runs(self) -> bool:
        return self._view is not None and self._view.poll() is None

    def _start(self) -> bool:
        """Start the view, in place of one that has ended; whether that worked."""
        self._view = None
        try:
            with self._log.open("ab") as out:
                self._view = subprocess.Popen(
                    view_command(self._folder),
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    env=self._environment,
                    start_new_session=True,  # Ctrl-C is for the driver; the view drains the journal
                )
        except OSError as error:  # no memory, no process, no file: tracking never stops training
            log.warning("the dashboard's process cannot be started: %s", error)
        return self._view is not None

    def _ends_well(self) -> bool:
        """Let the view bring the dashboard up to date; whether it did."""
        view = self._view
        if view is None:
            return False
        assert view.stdin is not None
        view.stdin.close()
        try:
            with self._console.status("bringing the dashboard up to date"):
                return view.wait(_PATIENCE_S) == 0
        except subprocess.TimeoutExpired:
            view.kill()
            view.wait()
            return False
