"""TODO"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """So many alike, with so many CPU cores and GPUs each."""

    count: int
    cpus: int
    gpus: int
