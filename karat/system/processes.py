"""Which process is meant, after it may have died and its number gone to another."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process by host, number and start.

    Args:
        host: name of the machine.
        pid: its number there.
        started: boot of the machine and clock ticks from it to the start of the process, where
            Linux tells them, since these do not change when the clock is set.
    """

    host: str
    pid: int
    started: str

    @classmethod
    def own(cls) -> Self:
        """Of this process."""
        return cls(os.uname().nodename, os.getpid(), _started(os.getpid()))

    @classmethod
    def read(cls, values: Any) -> Self | None:
        """From what `dataclasses.asdict` gave and a file kept; None if it is something else."""
        try:
            found = cls(str(values["host"]), int(values["pid"]), str(values["started"]))
        except (KeyError, TypeError, ValueError):
            return None
        return found if found.pid > 0 else None

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == os.uname().nodename

    @property
    def is_alive(self) -> bool:
        """Whether it runs on this machine now; another process of its number is not it."""
        return self.is_here and psutil.pid_exists(self.pid) and _started(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _started(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot} {fields[19]}"
    except (OSError, IndexError):
        pass
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""
