"""Notices that Ray has ended, or no longer answers, while a study runs."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Self

import psutil

from karat.causes import RayTrouble

LOOK_EVERY_S = 1.0
SILENT_S = 45.0  # without a step of Tune's loop, which takes a tenth of a second
UNREACHABLE_S = 30.0
_PROCESSES = ("gcs_server", "raylet")  # of Ray on this machine, started by this process
_ANSWER_S = 5.0
log = logging.getLogger(__name__)


class Watch:
    """A thread that looks at Ray every second; use it as a context manager around Tune's run.

    Time is counted in looks, so that a process that was stopped and continued notices nothing.

    Args:
        on_trouble: called once, in this thread, with the details of the trouble.
        address: host and port of the head of the cluster; None for Ray on this machine.
    """

    def __init__(
        self, on_trouble: Callable[[dict[str, object]], None], address: str | None = None
    ) -> None:
        self._on_trouble, self._address = on_trouble, address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="ray-watch", daemon=True)
        self._silent_looks: int | None = None  # None before the first step
        self._refused_s = 0.0

    def __enter__(self) -> Self:
        children = [] if self._address else psutil.Process().children()
        self._processes = [
            each for each in children if each.name() in _PROCESSES and not _has_ended(each)
        ]
        self._names = {each.pid: each.name() for each in self._processes}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def on_step(self) -> None:
        """Tune's loop has made a step."""
        self._silent_looks = 0

    def _look_again(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            trouble = self._trouble()
            if trouble is not None and not self._ended.is_set():
                self._on_trouble(trouble)
                return

    def _trouble(self) -> dict[str, object] | None:
        for process in self._processes:
            if _has_ended(process):
                return {"what": RayTrouble.PROCESS.value, "name": self._names[process.pid]}
        if self._address is not None:
            self._refused_s = 0.0 if accepts(self._address) else self._refused_s + LOOK_EVERY_S
            if self._refused_s >= UNREACHABLE_S:
                return {"what": RayTrouble.UNREACHABLE.value, "address": self._address}
        if self._silent_looks is not None:
            self._silent_looks += 1
            if self._silent_looks * LOOK_EVERY_S >= SILENT_S:
                return {"what": RayTrouble.SILENT.value, "seconds": SILENT_S}
        return None


def exit_at_once(details: dict[str, object]) -> None:
    """Without a launch that knows how to go on: log the trouble, and end the process."""
    log.critical("Ray has ended, or hangs: %s", details)
    os._exit(os.EX_UNAVAILABLE)


def _has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def accepts(address: str, timeout_s: float = _ANSWER_S) -> bool:
    """Whether something accepts connections at this address, of the form HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=timeout_s):
            return True
    except OSError:
        return False
