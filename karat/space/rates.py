"""Resources that trials use, their prices, and sums of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Used GPU hours, CPU core hours, wall-clock hours, and US dollars."""

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    wall_hours: float = 0.0
    usd: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return (
            Spent(  # for every segment of a journal, so without `dataclasses.astuple`, which copies
                gpu_hours=self.gpu_hours + other.gpu_hours,
                cpu_hours=self.cpu_hours + other.cpu_hours,
                wall_hours=self.wall_hours + other.wall_hours,
                usd=self.usd + other.usd,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Resources of one trial and their prices; every launch writes them to the journal."""

    cpus: int = 0
    gpus: float = 0.0
    usd_per_cpu_hour: float | None = None
    usd_per_gpu_hour: float | None = None

    def price(self, slot_s: float, wall_s: float = 0.0, gpu_s: float | None = None) -> Spent:
        """The usage of trials that run for some time.

        Args:
            slot_s: seconds of all trials together.
            wall_s: wall-clock seconds.
            gpu_s: seconds of whole GPUs, if the trials do not all use `gpus` of them.
        """
        gpu_s = self.gpus * slot_s if gpu_s is None else gpu_s
        cpu, gpu = self.cpus * slot_s / _HOUR_S, gpu_s / _HOUR_S
        usd = cpu * (self.usd_per_cpu_hour or 0) + gpu * (self.usd_per_gpu_hour or 0)
        return Spent(gpu_hours=gpu, cpu_hours=cpu, wall_hours=wall_s / _HOUR_S, usd=usd)


def limits_of(source: Mapping[str, Any]) -> dict[str, float]:
    """The budget limits in the source of a space."""
    return {key: float(value) for key, value in source.get("budget", {}).items() if value}
