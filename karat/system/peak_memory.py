"""Peak memory of this process: allocated on the GPU if there is one, otherwise resident."""

import contextlib
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The peak since the object was created. `base` is the memory in use at that time, in bytes.

    On a GPU, this is the memory that torch has allocated, without the CUDA context.
    """

    def __init__(self) -> None:
        import torch

        self._on_gpu = torch.cuda.is_available()
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated()
        elif STATUS.exists():
            # "5" resets VmHWM to VmRSS (man 5 proc). Where that is not permitted, the peak is that
            # of the whole life of the process.
            with contextlib.suppress(OSError):
                CLEAR.write_text("5")
            self.base = _resident("VmRSS")
        else:
            self.base = 0

    def peak(self) -> int | None:
        """The peak so far in bytes; None on systems without /proc."""
        import torch

        if self._on_gpu:
            return torch.cuda.max_memory_allocated()
        return _resident("VmHWM") if STATUS.exists() else None


def _resident(name: str) -> int:
    lines = STATUS.read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
