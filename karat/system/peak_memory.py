"""How much memory this process has taken: of its GPU where it trains on one, else resident."""

import contextlib
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """From now on. `base` is what was there at the start, in bytes.

    On a GPU what torch has allocated counts, not what the driver and its context take.
    """

    def __init__(self) -> None:
        import torch

        self._on_gpu = torch.cuda.is_available()
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated()
        elif STATUS.exists():
            with contextlib.suppress(OSError):  # then it is the highest of the process's life
                CLEAR.write_text("5")  # the highest is now the present one
            self.base = _resident("VmRSS")
        else:
            self.base = 0

    def peak(self) -> int | None:
        """The highest so far; None where the system does not tell."""
        import torch

        if self._on_gpu:
            return torch.cuda.max_memory_allocated()
        return _resident("VmHWM") if STATUS.exists() else None


def _resident(name: str) -> int:
    lines = STATUS.read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
