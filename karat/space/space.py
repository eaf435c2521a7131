"""The question as data: what a search space consists of. `karat.space.reader` reads one from YAML.

    study, question, seed
    data, model, attention, training     fixed values, one section each
    reference                            the arm that others are compared with, or one at each level
    factors                              what the question is about
    tuned                                what must be set well for the comparison to be fair
    exclude                              combinations of factor levels to leave out
    search, early_stopping, confirm, resources, budget, tracking
    cluster                              where it runs when it is submitted (`karat.space.site`)

A parameter's full name is `section.key` (`attention.grid_size`). An arm is one combination of
factor levels; a cell is an arm with its tuned parameters fixed; a trial is a cell with a seed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from karat.parameters import Factor, Level, Tuned
from karat.samplers import SearchConfig
from karat.seeds import derive
from karat.space.rates import Terms
from karat.space.settings import BudgetConfig, ConfirmConfig, ResourceConfig, TrackingConfig
from karat.space.site import Site

SECTIONS = ("data", "model", "attention", "training")
NOT_ASKED = ("study", "tracking", "cluster", "budget")  # keys that say nothing about the question


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
    cluster: Site = field(default_factory=Site)

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
