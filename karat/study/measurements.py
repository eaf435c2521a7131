"""What workers report: what is taken, whether the metrics of an epoch can be used, and why a process died."""

import math
from collections.abc import Mapping
from pathlib import Path

from karat.causes import KILLED_BY_KERNEL, Details, Failure, Loss

MAY_REPORT = (
    "kernels", "computed", "peak_bytes", "images", "loading", "tested", "scores", "shifted", "snapshots",
    "health",
)  # fmt: skip
"""What a worker may report beside the metrics of an epoch; the journal takes nothing else."""


def fault_of(
    metrics: Mapping[str, float], metric: str, epoch: int
) -> tuple[Failure, Details] | None:
    """Why a trial fails with these metrics: one is missing or not finite; None if it does not.

    Args:
        metrics: of the epoch.
        metric: that the study searches by.
        epoch: epochs done.
    """
    if metric not in metrics:
        return Failure.ERROR, {"missing": metric, "epoch": epoch}
    for name, value in metrics.items():
        if not math.isfinite(value):
            return Failure.NON_FINITE, {"name": name, "value": str(value), "epoch": epoch}
    return None


def death_of(trace: Path, minutes: float, *, by_kernel: bool) -> tuple[Failure, Details]:
    """Why a worker process died: its watchdog exited it after it hung, or something else killed it.

    Args:
        trace: the watchdog's file of the segment.
        minutes: that an epoch may take.
        by_kernel: the kernel has killed a process for memory meanwhile, probably this one.
    """
    if trace.is_file() and trace.stat().st_size:
        return Failure.HUNG, {"minutes": minutes, "trace": str(trace)}
    return Failure.LOST, {"what": Loss.WORKER.value, **(KILLED_BY_KERNEL if by_kernel else {})}
