"""The sections of a space beside its parameters: confirmation, resources, budget, tracking."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from karat.errors import SettingError
from karat.settings import above, at_least, at_most, below, build

MAX_SEEDS, MAX_MINUTES, MAX_PROCESSES = 1000, 100_000, 1024
DeletedRuns = Literal["recreate", "leave"]


@dataclass(frozen=True, kw_only=True)
class ConfirmConfig:
    """How the winners are confirmed, and what is called a difference.

    Args:
        seeds: fresh seeds for each confirmed cell.
        by: the factor whose levels are confirmed; may be left out where there is one factor.
        smallest_difference: in the metric's unit; below it nobody cares.
        alpha: family-wise error rate over the arms (Holm).
    """

    seeds: int = 5
    by: str | None = None
    smallest_difference: float = 0.005
    alpha: float = 0.05

    def __post_init__(self) -> None:
        at_least("seeds", self.seeds, 2)
        at_most("seeds", self.seeds, MAX_SEEDS)
        above("smallest_difference", self.smallest_difference, 0)
        above("alpha", self.alpha, 0)
        below("alpha", self.alpha, 0.5)


@dataclass(frozen=True, kw_only=True)
class ResourceConfig:
    """What one trial gets.

    Args:
        cpus: CPU cores of each of its processes; also its number of threads.
        gpus: a part of one, or a whole number. On several it is trained by as many processes, each
            on its part of every batch. `auto` is the smallest 1/n of one that holds it.
        processes: as many without GPUs; None is one for each GPU, and one without.
        probe: whether each arm is run for a few steps before the study, to predict memory and time
            of its trials; None is where `gpus` is `auto`.
        minutes_per_epoch: a trial that reports nothing for so long is ended.
        disk_gb: room for the whole study, in 10^9 bytes. When half of it is used, the weights
            of search trials that cannot be confirmed are dropped; a trial whose checkpoint does
            not fit fails.
    """

    cpus: int = 1
    gpus: float | Literal["auto"] = 0
    processes: int | None = None
    probe: bool | None = None
    minutes_per_epoch: float = 240
    disk_gb: float | None = None

    def __post_init__(self) -> None:
        above("minutes_per_epoch", self.minutes_per_epoch, 0)
        above("disk_gb", self.disk_gb, 0)
        at_most("minutes_per_epoch", self.minutes_per_epoch, MAX_MINUTES)
        at_least("cpus", self.cpus, 1)
        gpus = self.gpus_at_most
        at_least("gpus", gpus, 0)
        at_least("processes", self.processes, 1)
        at_most("processes", self.processes, MAX_PROCESSES)
        if gpus > 1 and gpus != int(gpus):
            raise SettingError("gpus", "must be a whole number, or a part of 1", gpus)
        if gpus and self.processes not in (None, max(1, gpus)):
            rule = f"must be one for each GPU (gpus = {self.gpus}), or left out"
            raise SettingError("processes", rule, self.processes)
        if self.gpus == "auto" and self.probe is False:
            raise SettingError("probe", "must not be false where gpus is auto", self.probe)

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Self:
        """From the section `resources`, where `gpus_per_trial` is another name of `gpus`.

        Raises:
            SettingError: an unknown or wrong setting.
        """
        if "gpus_per_trial" in values and "gpus" in values:
            raise SettingError("resources.gpus_per_trial", "is another name of gpus; give one")
        own = {{"gpus_per_trial": "gpus"}.get(key, key): value for key, value in values.items()}
        return build(cls, own, "resources")

    @property
    def of_processes(self) -> int:
        """How many processes train one trial."""
        return self.processes or max(1, int(self.gpus_at_most))

    @property
    def gpus_at_most(self) -> float:
        """What a trial gets; `auto` gives no more than one."""
        return 1.0 if self.gpus == "auto" else self.gpus

    @property
    def gpus_of_process(self) -> float:
        """What each process of a trial gets, of the GPUs of one node."""
        return self.gpus_at_most / self.of_processes

    def processes_on(self, cpus: float, gpus: float) -> int:
        """How many processes of trials a node with so many holds."""
        room, share = int(cpus // self.cpus), self.gpus_of_process
        return min(room, int(gpus / share)) if share else room

    def trials_on(self, nodes: Iterable[tuple[float, float]]) -> int:
        """How many trials nodes with so many CPUs and GPUs hold; one may be spread over several."""
        return sum(self.processes_on(cpus, gpus) for cpus, gpus in nodes) // self.of_processes

    @property
    def is_probing(self) -> bool:
        """Whether memory and time of trials are predicted."""
        return self.gpus == "auto" if self.probe is None else self.probe


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What a study may use in all, over all its launches; then it leaves off in good order.

    Args:
        gpu_hours, cpu_hours: of trials, each times what `resources` gives it.
        wall_hours: while it is launched.
        usd: US dollars, at the prices of `cluster`.
    """

    gpu_hours: float | None = None
    cpu_hours: float | None = None
    wall_hours: float | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        for key, limit in self.limits.items():
            above(key, limit, 0)

    @property
    def limits(self) -> dict[str, float]:
        """Those that are set."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How MLflow shows the study; no part of the question.

    Args:
        deleted_runs: what becomes of runs that somebody deleted in MLflow: `recreate`, they are
            made anew from the journal; `leave`, they are left alone.
    """

    deleted_runs: DeletedRuns = "recreate"
