"""The parts of a search space. `karat.space.reader` reads one from YAML.

    study, question, seed
    data, model, attention, training     fixed values, one section each
    reference                            the arm that others are compared with, or one per level
    factors                              the parameters that the question is about
    design                               which combinations of their levels are run
    tuned                                parameters that are tuned in every arm, for a fair comparison
    exclude                              combinations of factor levels that do not run
    match                                arms of equal cost beside those of the levels (`karat.space.matching`)
    search, early_stopping, confirm, resources, budget, tracking
    paper                                published results, which the report shows beside the study's own
    cluster                              machines for a submitted study (`karat.space.site`)

A parameter's full name is `section.key` (`attention.grid_size`). An arm is one combination of
factor levels; a cell is an arm with fixed values of its tuned parameters; a trial is a cell with a
seed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from karat.designs import Crossing, Design, design_of
from karat.parameters import Factor, Level, Tuned
from karat.samplers import SearchConfig
from karat.schedulers import ArmSize, audit_share_of
from karat.seeds import derive
from karat.space.matching.config import MatchConfig
from karat.space.rates import Terms
from karat.space.settings import BudgetConfig, ConfirmConfig, ResourceConfig, TrackingConfig
from karat.space.site import Site
from karat.training.recipes import DEFAULT, load_recipe
from karat.training.watching.config import unwatched

if TYPE_CHECKING:
    from karat.training.config import Parts

SECTIONS = ("data", "model", "attention", "training")
NOT_HASHED = (
    "study",
    "tracking",
    "cluster",
    "budget",
    "paper",
)  # keys without influence on the results


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One combination of factor levels that can run.

    Args:
        label: short and unique, for tables.
        factors: full name to level, for the factors that exist in this arm.
        sections: the configuration without the tuned parameters.
        tuned: names of the tuned parameters that exist in this arm.
        raw: label of the arm whose settings were changed to match its reference's cost; None for those arms
            that the levels make.
    """

    label: str
    factors: Mapping[str, Level]
    sections: Mapping[str, Mapping[str, Any]]
    tuned: tuple[str, ...]
    raw: str | None = None

    def config(self, tuned: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The configuration of a trial: the sections with these values of the tuned parameters."""
        sections = {name: dict(values) for name, values in self.sections.items()}
        for name, value in tuned.items():
            section, key = name.split(".", 1)
            sections[section][key] = value
        return sections


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A combination of factor levels that does not run, and the rule that excludes it.

    Args:
        label: as that of an arm.
        rule: as a phrase.
        keys: full names of the settings that break it, or `exclude`.
        factors: full name to level, as those of an arm.
    """

    label: str
    rule: str
    keys: tuple[str, ...] = ()
    factors: Mapping[str, Level] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A checked search space.

    Args:
        references: level of the factor `confirm.by` to the label of the reference arm, with which
            the other arms of this level are compared: the same for all levels, or one for each.
        sizes: label of each arm to how much is searched in it.
        early_stopping: with its scheduler, also where the file names none (`karat.space.stopping`).
        match: the cost that matched arms have in common with their reference; None without any.
        cluster: the site with its prices; not stored in the journal.
        design: which combinations of levels are arms.
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
    sizes: Mapping[str, ArmSize]
    confirm: ConfirmConfig
    resources: ResourceConfig
    budget: BudgetConfig
    tracking: TrackingConfig
    source: Mapping[str, Any]
    match: MatchConfig | None = None
    cluster: Site = field(default_factory=Site)
    design: Design = field(default_factory=lambda: design_of(None))

    @property
    def hash(self) -> str:
        """`hash_with`, where all weights are drawn."""
        return self.hash_with({})

    def hash_with(
        self,
        fingerprints: Mapping[str, str],
        recipes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> str:
        """The sha256 of all that may change results, with the settings of recipes that have an effect;
        not the name of the study, for example.

        Args:
            fingerprints: `model.init_from` to the sha256 of the weights, which stands in its place: where they lie is
                no part of the question.
            recipes: their settings, as a journal has them; None for those of today. Without any the hash is that
                of versions before journals had them.
        """
        hashed = {key: value for key, value in self.source.items() if key not in NOT_HASHED}
        if watched := hashed.get("training"):
            hashed["training"] = unwatched({"training": watched})["training"]
            if not hashed["training"]:
                del hashed["training"]
        known = self.recipes if recipes is None else recipes
        if known:
            hashed["recipes"] = {
                name: {key: values[key] for key in sorted(self._left_to(name, values))}
                for name, values in known.items()
            }
        text = json.dumps(hashed, sort_keys=True)
        for name, sha256 in fingerprints.items():
            text = text.replace(json.dumps(name), json.dumps(f"sha256:{sha256}"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def parts(self) -> "Parts":
        """Builds configurations of this space's trials, of which many have parts in common."""
        # What a space is does not rest on how trials are made.
        from karat.training.config import Parts

        return Parts()

    @property
    def crossing(self) -> Crossing:
        """What the design is made of."""
        return Crossing.of(self.source, self.factors, SECTIONS)

    @property
    def recipes(self) -> dict[str, dict[str, Any]]:
        """The recipes of the trials, by name, with all their settings."""
        names = dict.fromkeys(name for arm in self.arms.values() for name in self._recipes_of(arm))
        return {name: load_recipe(name) for name in names}

    def left_to(self, recipe: str) -> set[str]:
        """The settings that are left to a recipe in at least one arm: all others the space replaces."""
        return self._left_to(recipe, load_recipe(recipe))

    def _left_to(self, recipe: str, settings: Iterable[str]) -> set[str]:
        return {
            key
            for arm in self.arms.values()
            if recipe in self._recipes_of(arm)
            for key in settings
            if key not in arm.sections["training"] and f"training.{key}" not in arm.tuned
        }

    def _recipes_of(self, arm: Arm) -> tuple[str, ...]:
        if "training.recipe" in arm.tuned:
            return tuple(map(str, self.tuned["training.recipe"].values or ()))
        return (arm.sections["training"].get("recipe", DEFAULT),)

    @property
    def audit_share(self) -> float:
        """The share of the stopped search trials that is finished anyway."""
        return audit_share_of(self.early_stopping)

    @property
    def terms(self) -> Terms:
        """The resources of a trial, and their prices at the site."""
        return Terms(
            cpus=self.resources.cpus * self.resources.num_processes,
            gpus=self.resources.gpus_at_most,
            usd_per_cpu_hour=self.cluster.usd_per_cpu_hour,
            usd_per_gpu_hour=self.cluster.usd_per_gpu_hour,
        )

    @property
    def reference_arms(self) -> tuple[str, ...]:
        """Labels of the reference arms, without duplicates."""
        return tuple(dict.fromkeys(self.references.values()))

    def seed_of(self, phase: str, index: int) -> int:
        """The seed with this index: equal for all arms, different for each phase."""
        return derive(self.name, self.seed, phase, index)
