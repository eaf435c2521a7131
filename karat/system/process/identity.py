"""The identity of a process, which a later process with the same PID does not share."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process by host, PID and start time.

    Args:
        host: name of the machine.
        pid: process ID on that machine.
        started: on Linux, the boot ID of the machine and the clock ticks from boot to the start of
            the process: unlike a time, these do not change when the clock is set. Elsewhere the
            start time.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def own(cls) -> Self:
        """The identity of this process."""
        return cls(os.uname().nodename, os.getpid(), _started(os.getpid()))

    @classmethod
    def read(cls, values: Any) -> Self | None:
        """From a mapping that `dataclasses.asdict` made; None if the fields are missing or wrong."""
        try:
            found = cls(str(values["host"]), int(values["pid"]), str(values["started"]))
        except (KeyError, TypeError, ValueError):
            return None
        return found if found.pid > 0 else None

    @property
    def is_here(self) -> bool:
        """Whether the process runs, or ran, on this machine."""
        return self.host == os.uname().nodename

    @property
    def is_alive(self) -> bool:
        """Whether the process runs on this machine now; False if its PID belongs to another one."""
        return self.is_here and psutil.pid_exists(self.pid) and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _started(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        # Field 2, the name, may hold spaces and brackets; field 22 is the start time (man 5 proc).
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return f"{boot} {fields[19]}"
    except (OSError, IndexError):
        pass
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""
