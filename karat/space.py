"""The question as data: what a search space consists of. `karat.spacefile` reads one from YAML.

    study, question, seed
    data, model, attention, training     fixed values, one section each
    reference                            the arm that others are compared with, or one at each level
    factors                              what the question is about
    tuned                                what must be set well for the comparison to be fair
    exclude                              combinations of factor levels to leave out
    search, early_stopping, confirm, resources, budget, tracking
    cluster                              where it runs when it is submitted (`karat.clusters`)

A parameter's full name is `section.key` (`attention.grid_size`). An arm is one combination of
factor levels; a cell is an arm with its tuned parameters fixed; a trial is a cell with a seed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from karat.clusters import ClusterConfig
from karat.errors import SettingError
from karat.levels import Level, Scalar
from karat.seeds import derive
from karat.settings import above, at_least, at_most, below, build
from karat.spending import Terms

SECTIONS = ("data", "model", "attention", "training")
MAX_TRIALS, MAX_SEEDS, MAX_MINUTES, MAX_PROCESSES = 100_000, 1000, 100_000, 1024
DeletedRuns = Literal["recreate", "leave"]
NOT_ASKED = ("study", "tracking", "cluster", "budget")  # keys that say nothing about the question


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How the search goes.

    Args:
        sampler: a name in `karat.samplers.SAMPLERS`.
        trials: in all; `grid` runs its whole grid and takes none.
        metric: what is optimised, as a trial reports it.
        mode: `max` or `min`.
        allocation: `equal`, every arm gets the same number of trials and is tuned on its own;
            `free`, the sampler chooses the arms too.
    """

    sampler: str = "tpe"
    trials: int | None = None
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    allocation: Literal["equal", "free"] = "equal"

    def __post_init__(self) -> None:
        at_least("trials", self.trials, 1)
        at_most("trials", self.trials, MAX_TRIALS)
        if self.mode != ("min" if self.metric == "val_loss" else "max"):
            raise SettingError("mode", f"does not fit the metric {self.metric}", self.mode)


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


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A parameter that the question is about: its levels, and the values that make it exist."""

    name: str
    values: tuple[Level, ...]
    when: Mapping[str, tuple[Level, ...]]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A parameter to be tuned in every arm: a range, or a list of values.

    Args:
        name: full name.
        values: categories, or None for a range.
        low, high: ends of the range, both included.
        log: whether the range is searched on a logarithmic scale.
        when: the factor levels that make it exist.
    """

    name: str
    values: tuple[Scalar, ...] | None
    low: float | None
    high: float | None
    log: bool
    when: Mapping[str, tuple[Level, ...]]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One combination of factor levels that can be run.

    Args:
        label: short and unique, for tables.
        factors: full name to level, for the factors that exist in this arm.
        sections: the configuration, but for what is tuned.
        tuned: names of the tuned parameters that exist in this arm.
    """

    label: str
    factors: Mapping[str, Level]
    sections: Mapping[str, Mapping[str, Any]]
    tuned: tuple[str, ...]

    def config(self, tuned: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The sections of a trial of this arm, with the tuned parameters put in."""
        sections = {name: dict(values) for name, values in self.sections.items()}
        for name, value in tuned.items():
            section, key = name.split(".", 1)
            sections[section][key] = value
        return sections


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A combination of factor levels that is not run, and the rule that says so."""

    label: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class Space:
    """A checked search space.

    Args:
        references: level of the factor `confirm.by` to the label of the arm with which the
            others of this level are compared: the same arm for all levels, or one for each.
        cluster: the site that the file names, with its prices; a journal does not tell of it.
    """

    name: str
    question: str
    seed: int
    data: Mapping[str, Any]
    factors: Mapping[str, Factor]
    tuned: Mapping[str, Tuned]
    arms: Mapping[str, Arm]
    excluded: tuple[Excluded, ...]
    references: Mapping[Level, str]
    search: SearchConfig
    early_stopping: Mapping[str, Any]
    confirm: ConfirmConfig
    resources: ResourceConfig
    budget: BudgetConfig
    tracking: TrackingConfig
    source: Mapping[str, Any]
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    @property
    def hash(self) -> str:
        """A sha256 of what the question means; the study's name is not part of it."""
        meaning = {key: value for key, value in self.source.items() if key not in NOT_ASKED}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

    @property
    def terms(self) -> Terms:
        """What a trial takes, and what that costs at the site."""
        return Terms(
            cpus=self.resources.cpus * self.resources.of_processes,
            gpus=self.resources.gpus_at_most,
            usd_per_cpu_hour=self.cluster.usd_per_cpu_hour,
            usd_per_gpu_hour=self.cluster.usd_per_gpu_hour,
        )

    @property
    def reference_arms(self) -> tuple[str, ...]:
        """Labels of the reference arms, each once."""
        return tuple(dict.fromkeys(self.references.values()))

    def seed_of(self, phase: str, index: int) -> int:
        """The seed with this index: the same for all arms, never the same in two phases."""
        return derive(self.name, self.seed, phase, index)
