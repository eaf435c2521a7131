"""Peak memory of this process, and processes that the kernel has killed for lack of memory."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_OOM_KILL, _CGROUPS = "oom_kill", "sys/fs/cgroup"


class PeakMemory:
    """The peak since the object was created: allocated on the GPU if there is one, else resident.

    `base` is the memory in use at that time, in bytes. On a GPU, this is the memory that torch has allocated, without the CUDA context.
    """

    # The highest peak that `inner_peak` has reset; of the process, as the peak itself is.
    _floor: ClassVar[int] = 0

    def __init__(self) -> None:
        import torch

        PeakMemory._floor = 0
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated()
        elif STATUS.exists():
            # "5" resets VmHWM to VmRSS (man 5 proc). Where that is not permitted, the peak is that
            # of the whole life of the process.
            with contextlib.suppress(OSError):
                CLEAR.write_text("5", encoding="utf-8")
            self.base = _resident("VmRSS")
        else:
            self.base = 0

    def peak(self) -> int | None:
        """The peak so far in bytes; None on systems without /proc."""
        now = _peak_now()
        return None if now is None else max(now, PeakMemory._floor)


def _peak_now() -> int | None:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return _resident("VmHWM") if STATUS.exists() else None


@contextlib.contextmanager
def inner_peak() -> Iterator[Callable[[], int | None]]:
    """Measure a part of what an outer `PeakMemory` measures, whose peak is as if this were not there.

    Yields a function that gives the peak in bytes within the block so far; None on systems without /proc.
    """
    floor = max(PeakMemory._floor, _peak_now() or 0)
    PeakMemory()
    try:
        yield _peak_now
    finally:
        PeakMemory._floor = floor


def _resident(name: str) -> int:
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


@dataclass(frozen=True, slots=True)
class MemoryKills:
    """Numbers of processes that the kernel's out-of-memory killer has ended; None where it does not tell.

    Such a process leaves no message: whoever waits for it sees SIGKILL alone. The counters are those
    of this machine, so they say nothing of a process on another one.

    Source: `memory.events` in the kernel's Documentation/admin-guide/cgroup-v2.rst;
    `memory.oom_control` in cgroup-v1/memory.rst; `oom_kill` of /proc/vmstat (mm/oom_kill.c).

    Args:
        of_group: in the control group of this process and, with cgroup v2, in those below it, which
            are those of a container, a Slurm job or a systemd unit.
        of_machine: on the whole machine, also processes of other users.
    """

    of_group: int | None
    of_machine: int | None

    @classmethod
    def read(cls, root: Path = Path("/")) -> "MemoryKills":
        """The counters now. Reading takes well under a millisecond and raises nothing.

        Args:
            root: holds `proc` and `sys`.
        """
        of_machine = _counter(root / "proc/vmstat")
        found = [_counter(path) for path in _files_of_group(root)]
        counted = [count for count in found if count is not None]
        return cls(sum(counted) if counted else None, of_machine)

    def has_grown_since(self, before: "MemoryKills") -> bool:
        """Whether the kernel has killed a process since `before`, as far as it is known.

        The machine's counter counts too, since with cgroup v1 a group does not count what is killed
        in the groups below it. So a kill of somebody else's process at the same time may be taken
        for one of ours.
        """
        pairs = ((before.of_group, self.of_group), (before.of_machine, self.of_machine))
        return any(old is not None and new is not None and new > old for old, new in pairs)


def _files_of_group(root: Path) -> Iterator[Path]:
    """Files with a counter of the control group of this process; they need not exist.

    A line of /proc/self/cgroup is `NUMBER:CONTROLLERS:PATH`; that of version 2 has no controllers.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2) if line.count(":") > 1 else ("", "-", "")
        below = PurePosixPath(path).relative_to("/") if path.startswith("/") else path
        if not controllers:
            yield root / _CGROUPS / below / "memory.events"
        elif "memory" in controllers.split(","):
            yield root / _CGROUPS / "memory" / below / "memory.oom_control"


def _counter(path: Path) -> int | None:
    """The value of `oom_kill` in a file with a name and a value on each line; None without one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == _OOM_KILL and value.strip().isdecimal():
            return int(value)
    return None
