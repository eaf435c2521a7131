"""Starts and restarts the process that writes a study to MLflow; its failure never stops training."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from rich.console import Console

from karat.journal.journal import Event
from karat.journal.layout import SYNC_LOG
from karat.journal.state import StudyState
from karat.system.paths import add_to_python_path

START_AFTER_S = 10.0  # leaves the CPU to the first workers while they start
_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0  # before a restart of the view, doubled each time
_LOOK_S = 1.0
_PATIENCE_S = 120.0  # at the end, for a view that does nothing; it gives up on MLflow before
_WORKING_S = 1.0  # of CPU time within that: it does something
log = logging.getLogger(__name__)


def view_command(folder: Path) -> list[str]:
    """Command of the view process of the study in `folder`.

    It starts in the user's working directory; `-P` prevents imports from there.
    """
    return [sys.executable, "-P", "-m", "karat", "sync", str(folder), "--follow"]


class Supervisor:
    """Runs the view process, which keeps MLflow up to date until its stdin closes.

    The view starts with the first report or end of a trial, at the latest `START_AFTER_S` after
    the first segment; nothing is lost, since it reads the journal from the beginning. If it exits
    or cannot start, it is restarted after a pause, and once more when the launch ends.

    Args:
        folder: of the study.
        console: shows a message if MLflow is not up to date at the end.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder, self._console = folder, console
        self._log = folder / SYNC_LOG
        self._environment = dict(
            os.environ
        )  # copied now: the engine removes credentials from os.environ
        add_to_python_path(self._environment)
        self._view: subprocess.Popen[bytes] | None = None
        self._begun, self._due, self._closing = (threading.Event() for _ in range(3))
        self._keeper = threading.Thread(target=self._keep, name="supervisor", daemon=True)

    def on_event(self, event: Event, _: StudyState) -> None:
        """Listener of the study; starts the view when an event is due."""
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
            f"MLflow is behind (see {self._log}); nothing is lost, "
            f"and `python -m karat sync {self._folder}` brings it up to date",
            soft_wrap=True,
        )

    def _keep(self) -> None:
        """Start the view when it is due, and restart it until the launch ends."""
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
        log.warning("the MLflow sync process exited with status %d (see %s)", status, self._log)

    def _runs(self) -> bool:
        return self._view is not None and self._view.poll() is None

    def _start(self) -> bool:
        """Start the view; returns whether that succeeded."""
        self._view = None
        try:
            with self._log.open("ab") as out:
                self._view = subprocess.Popen(
                    view_command(self._folder),
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    env=self._environment,
                    start_new_session=True,  # no Ctrl-C before it has read the whole journal
                )
        except OSError as error:  # tracking must not stop training
            log.warning("the MLflow sync process cannot be started: %s", error)
        return self._view is not None

    def _ends_well(self) -> bool:
        """Wait until the view has brought MLflow up to date; returns whether it did."""
        view = self._view
        if view is None:
            return False
        assert view.stdin is not None
        view.stdin.close()
        if not _exits(view):
            view.kill()
        return view.wait() == 0


def _exits(view: "subprocess.Popen[bytes]") -> bool:
    """Wait for the view while it works, however many trials it has to write; returns whether it exited."""
    used_s, since = 0.0, time.monotonic()
    while time.monotonic() - since < _PATIENCE_S:
        try:
            view.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            if (now_s := _cpu_s(view.pid)) >= used_s + _WORKING_S:
                used_s, since = now_s, time.monotonic()
        else:
            return True
    return False


def _cpu_s(pid: int) -> float:
    """The CPU time of a process; 0 where that cannot be read."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
