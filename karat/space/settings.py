"""The sections of a space other than its parameters: confirmation, resources, budget, tracking."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from karat.errors import SettingError
from karat.settings import above, at_least, at_most, build
from karat.statistics.sequential import looks_at
from karat.tested import WEIGHTS, Weights

MAX_SEEDS, MAX_BUDGET, MAX_MINUTES, MAX_PROCESSES, MAX_LOOKS = 1000, 100, 100_000, 1024, 100
_LIKE_EPOCHS = 10  # multiples from here on may have been meant in epochs
_LARGEST_SHARE = 0.2  # of an accuracy, as a smallest difference
_LARGEST_ALPHA = 0.5
FRESH_SEEDS = 2  # of each cell of a shortlist
DeletedRuns = Literal["recreate", "leave"]


@dataclass(frozen=True, kw_only=True)
class TopUpConfig:
    """How seeds are added to arms that have no verdict yet (`karat.statistics.sequential`).

    Args:
        most: the seeds that an arm has at most. It is fixed before the launch: how often the verdicts
            may be looked at decides how small a p must be at each look.
        step: seeds that are added at a time; the last step is shorter where `most` demands it.
    """

    most: int = field(metadata={"missing": "is missing: a top-up needs a maximum of seeds"})
    step: int = 2

    def __post_init__(self) -> None:
        at_most("most", self.most, MAX_SEEDS)
        at_least("step", self.step, 1)

    def __str__(self) -> str:
        return f"at most {self.most} seeds, {self.step} at a time"


@dataclass(frozen=True, kw_only=True)
class ConfirmConfig:
    """How the winners of the search are confirmed, and how large a difference must be.

    Args:
        seeds: number of new seeds for each confirmed arm, 2 to 1,000; with `top_up` before any are added.
        tunings: how often each arm is tuned, independently and from the start. With 1 the verdicts
            are about the cells that this one search happened to find; with more, about the arms,
            tuning included: each tuning's own best cell is trained with its share of the seeds, and
            what varies between tunings is part of every interval. It divides `seeds`.
        budgets: lengths of training of the confirmation, as multiples of the epochs, increasing. Each
            seed is trained once with each, from the start. Verdicts are about the longest; the others
            show whether training was finished, and how the difference depends on its length. A longest of
            10 or more that is not below the epochs is refused: epochs were meant.
        by: the factor whose levels are confirmed, each by its best arm; optional if there is only one
            factor. `arm`: every arm is confirmed for itself.
        smallest_difference: smallest difference of practical interest, in the metric's unit: an accuracy
            is a share of 1, so 0.005 is half a point. Above 0, and below 0.2 for an accuracy.
        alpha: family-wise error rate over the arms (Holm), above 0 and below 0.5.
        weights: which weights of a run are tested, kept and registered: of its `last` epoch, or of
            the `best` one by the search's metric on the validation split.
        top_up: whether seeds are added to arms without a verdict, and how many at most.
        shortlist: number of cells, the best of the search, that are trained again with fresh seeds
            before one of them is confirmed. With 1 the best one of the search is confirmed.
        shortlist_seeds: fresh seeds of each cell of a shortlist, 2 if None; not used in the search or the
            confirmation. Only with a shortlist of at least 2.
    """

    seeds: int = 5
    tunings: int = 1
    budgets: tuple[int, ...] = (1,)
    by: str | None = None
    smallest_difference: float = 0.005
    alpha: float = 0.05
    weights: Weights = WEIGHTS
    top_up: TopUpConfig | None = None
    shortlist: int = 1
    shortlist_seeds: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < 2:
            rule = "must be at least 2, since a verdict needs the spread of several pairs"
            raise SettingError("seeds", rule, self.seeds)
        at_most("seeds", self.seeds, MAX_SEEDS)
        at_least("tunings", self.tunings, 1)
        if self.seeds % self.tunings:
            raise SettingError("tunings", f"must divide the {self.seeds} seeds", self.tunings)
        for least, budget in zip((0, *self.budgets), self.budgets, strict=False):
            if budget <= least:
                raise SettingError(
                    "budgets",
                    "must be multiples of the epochs, each above the one before",
                    self.budgets,
                )
        if not self.budgets:
            raise SettingError("budgets", "must have at least one multiple of the epochs", [])
        if self.budgets[-1] > MAX_BUDGET:
            rule = f"must be at most {MAX_BUDGET} times the epochs"
            raise SettingError("budgets", rule, self.budgets)
        above("smallest_difference", self.smallest_difference, 0)
        if not 0 < self.alpha < _LARGEST_ALPHA:
            rule = f"must be greater than 0 and less than {_LARGEST_ALPHA:g}; 0.05 is an error rate of 5 %"
            raise SettingError("alpha", rule, self.alpha)
        at_least("shortlist", self.shortlist, 1)
        at_least("shortlist_seeds", self.shortlist_seeds, 1)
        at_most("shortlist_seeds", self.shortlist_seeds, MAX_SEEDS)
        if self.shortlist == 1 and self.shortlist_seeds is not None:
            rule = "has no effect with shortlist = 1; omit it, or set shortlist to at least 2"
            raise SettingError("shortlist_seeds", rule, self.shortlist_seeds)
        self._check_top_up()

    def check_unit(self, metric: str) -> None:
        """Refuse a difference that was meant in percent.

        Raises:
            SettingError: it is no share of 1, as an accuracy is.
        """
        if metric == "val_accuracy" and self.smallest_difference >= _LARGEST_SHARE:
            rule = (
                f"must be a share of 1 and below {_LARGEST_SHARE:g}, as an accuracy is: "
                f"{self.smallest_difference:g} points are {self.smallest_difference / 100:g}"
            )
            raise SettingError("confirm.smallest_difference", rule, self.smallest_difference)

    def check_lengths(self, epochs: int) -> None:
        """Refuse lengths of training that were meant in epochs.

        Args:
            epochs: of a trial at full length.

        Raises:
            SettingError: the shortest is as many times the epochs as there are epochs, or more.
        """
        if self.budgets[0] >= max(epochs, 3):
            rule = (
                f"are multiples of the {epochs} epochs, and not epochs: [1, 2] trains for {epochs} "
                f"and for {2 * epochs}"
            )
            raise SettingError("confirm.budgets", rule, self.budgets)

    def check_longest(self, epochs: int) -> None:
        """Refuse a longest training that was likely meant in epochs.

        Ten and more times the epochs, and as many times as there are epochs or more, is what people write who mean
        epochs. Who means multiples loses little: the cells are tuned at the epochs of the search, so that a verdict
        about a training so much longer needs a longer search anyway.

        Args:
            epochs: of a trial at full length.

        Raises:
            SettingError: with what would be right for each of the two.
        """
        longest = self.budgets[-1]
        if longest >= max(epochs, _LIKE_EPOCHS):
            rule = (
                f"are multiples of the epochs, here {epochs}: {longest} would train for {longest * epochs}. If epochs "
                f"are meant, [1, 2] trains for {epochs} and for {2 * epochs}; if not, raise training.epochs, for which "
                "the cells are tuned"
            )
            raise SettingError("confirm.budgets", rule, self.budgets)

    def _check_top_up(self) -> None:
        if self.top_up is None:
            return
        most, step = self.top_up.most, self.top_up.step
        if self.tunings > 1:
            rule = "must be omitted if tunings are repeated: there a tuning counts, and not a seed"
            raise SettingError("top_up", rule)
        if most <= self.seeds:
            raise SettingError(
                "top_up.most", f"must be greater than confirm.seeds, {self.seeds}", most
            )
        if (looks := len(self.looks)) > MAX_LOOKS:
            rule = f"must be greater: there would be {looks} looks at the verdicts, at most {MAX_LOOKS} may be"
            raise SettingError("top_up.step", rule, step)

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds of an arm at which its verdict is looked at; empty without `top_up`."""
        if self.top_up is None:
            return ()
        return looks_at(self.seeds, self.top_up.most, self.top_up.step)

    @property
    def most_each(self) -> int:
        """Seeds with which the best cell of each tuning is confirmed at most."""
        return self.seeds_each if self.top_up is None else self.top_up.most

    @property
    def seeds_each(self) -> int:
        """Seeds with which the best cell of each tuning is confirmed."""
        return self.seeds // self.tunings

    @property
    def runs_each(self) -> int:
        """Confirmation runs of the best cell of each tuning: each seed with each budget."""
        return self.seeds_each * len(self.budgets)

    @property
    def fresh_seeds(self) -> int:
        """Seeds with which each cell of a shortlist is trained again; 0 without a shortlist."""
        if self.shortlist == 1:
            return 0
        return FRESH_SEEDS if self.shortlist_seeds is None else self.shortlist_seeds

    @property
    def shortlist_runs(self) -> int:
        """Runs of a whole shortlist; 0 without one."""
        return self.shortlist * self.fresh_seeds


@dataclass(frozen=True, kw_only=True)
class ResourceConfig:
    """The resources of one trial, and the disk space of the study.

    Args:
        cpus: CPU cores, and threads, of each process; at least 1.
        gpus: a fraction of one GPU, or a whole number. With several GPUs, one process per GPU trains
            on its shard of every batch. `auto` is the smallest fraction 1/n with enough memory.
        processes: number of processes of a trial without GPUs, at most 1,024; None for one, and for one
            per GPU.
        probe: whether each arm runs for a few steps before the study, to predict memory and time
            of its trials. None does so only if `gpus` is `auto`.
        minutes_per_epoch: a trial that reports nothing for this time is killed; above 0, at most 100,000. Each corrupted
            copy of the test images (`data.corruptions`) may take as long again.
        disk_gb: disk budget of the study, in 10^9 bytes, above 0. When half of it is used, the weights of
            search trials that cannot be confirmed are deleted. A trial fails if its checkpoint
            exceeds the budget.
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
            raise SettingError("gpus", "must be a whole number, or a fraction below 1", gpus)
        if gpus and self.processes not in (None, max(1, gpus)):
            rule = f"must be one for each GPU (gpus = {self.gpus}), or omitted"
            raise SettingError("processes", rule, self.processes)
        if self.gpus == "auto" and self.probe is False:
            raise SettingError("probe", "must not be false if gpus is auto", self.probe)

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Self:
        """From the section `resources`, in which `gpus_per_trial` is an alias of `gpus`.

        Raises:
            SettingError: a setting is unknown or wrong.
        """
        if "gpus_per_trial" in values and "gpus" in values:
            raise SettingError("resources.gpus_per_trial", "is an alias of gpus; give only one")
        own = {{"gpus_per_trial": "gpus"}.get(key, key): value for key, value in values.items()}
        return build(cls, own, "resources")

    @property
    def num_processes(self) -> int:
        """Number of processes that train one trial."""
        return self.processes or max(1, int(self.gpus_at_most))

    @property
    def gpus_at_most(self) -> float:
        """GPUs of a trial, or their maximum, 1, if `gpus` is `auto`."""
        return 1.0 if self.gpus == "auto" else self.gpus

    @property
    def gpus_per_process(self) -> float:
        """GPUs of each process of a trial, which are on the same node as the process."""
        return self.gpus_at_most / self.num_processes

    def bundles(self, gpus: float) -> list[dict[str, float]]:
        """What Ray reserves for each process of a trial, rank 0 first.

        Args:
            gpus: of the trial, for all its processes together.
        """
        share = gpus / self.num_processes
        bundle = {"CPU": float(self.cpus)} | ({"GPU": share} if share else {})
        return [dict(bundle) for _ in range(self.num_processes)]

    def processes_on(self, cpus: float, gpus: float) -> int:
        """The number of trial processes that fit on a node with these CPUs and GPUs."""
        room, share = int(cpus // self.cpus), self.gpus_per_process
        return min(room, int(gpus / share)) if share else room

    def trials_on(self, nodes: Iterable[tuple[float, float]]) -> int:
        """The number of trials that fit on nodes with these (CPUs, GPUs); a trial may span nodes."""
        return sum(self.processes_on(cpus, gpus) for cpus, gpus in nodes) // self.num_processes

    @property
    def is_probing(self) -> bool:
        """Whether a probe predicts memory and time of the trials."""
        return self.gpus == "auto" if self.probe is None else self.probe


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """Limits on the usage of a study over all its launches; at a limit it shuts down gracefully.

    Args:
        gpu_hours: hours of trials times their GPUs, above 0.
        cpu_hours: hours of trials times their CPU cores, above 0.
        wall_hours: wall-clock hours during launches, above 0.
        usd: US dollars, above 0, at the prices of `cluster`.
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
        """The limits that are set."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How MLflow shows the study; has no influence on results.

    Args:
        deleted_runs: what to do with runs that a user deleted in MLflow: `recreate` them from the
            journal, or `leave` them deleted.
        follow: whether MLflow is kept up to date while the study runs; if not, `karat sync` writes
            it from the journal at any time.
    """

    deleted_runs: DeletedRuns = "recreate"
    follow: bool = True
