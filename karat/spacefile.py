"""From a YAML file to a checked `Space`: every refusal names file, line, value and rule."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from karat.attention_config import nearest_setting, settings_of, settings_of_all
from karat.clusters import cluster_of
from karat.door import place_of
from karat.errors import CombinationError, DataError, InputError, SettingError, nearest, shorten
from karat.levels import Level, Scalar, label_of, level_of, level_text, plain
from karat.names import why_no_name
from karat.samplers import SAMPLERS
from karat.schedulers import make_scheduler
from karat.settings import build
from karat.space import (
    MAX_TRIALS,
    SECTIONS,
    Arm,
    BudgetConfig,
    ConfirmConfig,
    Excluded,
    Factor,
    ResourceConfig,
    SearchConfig,
    Space,
    TrackingConfig,
    Tuned,
)
from karat.trial_config import TrialConfig
from karat.yamlfile import Document, Path_, parse_scalar, read_yaml

KEYS = (
    *("study", "question", "seed", *SECTIONS, "reference", "factors", "tuned", "exclude"),
    *("search", "early_stopping", "confirm", "resources", "budget", "tracking", "cluster"),
)
BASIS = "attention.basis"
MAX_ARMS = 1000
MAX_PARAMETERS = 50  # factors, and tuned parameters
MAX_CHECKS = 20_000  # configurations that are built to see that they can be run
GENERIC = {"all", "full", "none", "learned"}


def load_space(
    path: Path,
    overrides: Mapping[str, str] | None = None,
    name: str | None = None,
    document: Document | None = None,
) -> Space:
    """Read and check a space.

    Args:
        path: the YAML file.
        overrides: `--set` assignments, dotted key to YAML text.
        name: in place of the file's `study`.
        document: the file's data, if it has been read.

    Raises:
        InputError: what is wrong, with file and line, and what would be right.
    """
    reader = SpaceFile(read_yaml(path) if document is None else document, str(path))
    for key, text in (overrides or {}).items():
        reader.override(key, text)
    if name is not None:
        reader.assign(("study",), name, "--name")
    return reader.at_its_site(reader.read(), path)


def space_of(source: Mapping[str, Any], name: str, place: str) -> Space:
    """The space that a journal tells of.

    Args:
        source: `Space.source`, as the journal keeps it.
        name: of the study.
        place: where the source stands, for messages.

    Raises:
        InputError: it is no space to this version of karat, or its data is not here.
    """
    return SpaceFile(Document({**source, "study": name}, {}), place).read()


class SpaceFile:
    """A space's data while it is read; knows where every value came from."""

    def __init__(self, document: Document, file: str) -> None:
        self.file = file
        self.places = {key: f"{file}:{line}" for key, line in document.lines.items()}
        if not isinstance(document.data, dict):
            raise InputError(f"{file}: must hold `key: value` lines. Known: {', '.join(KEYS)}")
        self.data: dict[str, Any] = document.data
        self.excluded: tuple[Excluded, ...] = ()
        self.right: set[str] = set()  # parts of configurations, see `check_config`
        self._factors: dict[str, Factor] = {}  # or each `when` would read all those above it again
        self.known_keys(self.data, KEYS, ())

    # -- refusing -----------------------------------------------------------------------------

    def place(self, path: Path_) -> str:
        """Where a value stands, or the nearest thing around it that has a place."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.file)

    def fail(self, path: Path_, rule: str, value: object = ...) -> NoReturn:
        """Refuse a value."""
        shown = "" if value is ... else f" = {shorten(value)}"
        raise InputError(f"{self.place(path)}: {'.'.join(map(str, path))}{shown}: {rule}")

    def refuse(self, error: SettingError) -> NoReturn:
        """Refuse a setting under the place from which it came: a section, a factor or a range."""
        path: Path_ = tuple(error.key.split("."))
        for group in ("factors", "tuned"):
            if (group, error.key) in self.places:
                path = (group, error.key)
        raise InputError(f"{self.place(path)}: {error}") from error

    def known_keys(self, values: Mapping[str, Any], known: tuple[str, ...], path: Path_) -> None:
        """Refuse a key that is not known, with the nearest that is."""
        for key in values:
            if key not in known:
                self.fail((*path, key), f"unknown key. {nearest(key, known)}")

    def mapping(self, path: Path_, default: dict[str, Any] | None = None) -> dict[str, Any]:
        """The mapping at a path."""
        value: Any = self.data
        for key in path:
            value = value.get(key, default)
        if value is None:
            self.fail(path, "is missing" if path not in self.places else "must not be empty")
        if not isinstance(value, dict):
            self.fail(path, "must hold `key: value` lines", value)
        return value

    # -- overriding ---------------------------------------------------------------------------

    def override(self, key: str, text: str) -> None:
        """Put in one `--set key=value`."""
        place = place_of(key, text)
        parts = key.split(".")
        if parts[0] not in KEYS:
            raise InputError(f"{place}: unknown key {parts[0]!r}. {nearest(parts[0], KEYS)}")
        path: Path_ = tuple(parts)
        if parts[0] in ("factors", "tuned", "reference") and len(parts) >= 3:
            path = (parts[0], ".".join(parts[1:3]), *parts[3:])
        elif parts[0] in SECTIONS and len(parts) == 2:
            for group in ("factors", "tuned"):
                if key in self.mapping((group,), {}):
                    raise InputError(
                        f"{place}: {key} is one of the {group} here; use --set {group}.{key}=..."
                    )
        self.assign(path, parse_scalar(text, place), place)

    def assign(self, path: Path_, value: Any, place: str) -> None:
        """Put a value in, remembering that it came from `place`."""
        target: Any = self.data
        for key in path[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InputError(f"{place}: {key} holds a value, not further keys")
        target[path[-1]] = value
        self.places = {p: at for p, at in self.places.items() if p[: len(path)] != path}
        self.places[path] = place

    # -- reading ------------------------------------------------------------------------------

    def read(self) -> Space:
        """The checked space."""
        name: Any = self.data.get("study")
        if (rule := why_no_name(name)) is not None:
            self.fail(("study",), rule, name)
        question, seed = self.data.get("question", ""), self.data.get("seed", 0)
        if not isinstance(question, str):
            self.fail(("question",), "must be text", question)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            self.fail(("seed",), "must be a whole number, at least 0", seed)
        try:
            search = build(SearchConfig, self.mapping(("search",)), "search")
            confirm = build(ConfirmConfig, self.mapping(("confirm",), {}), "confirm")
            resources = ResourceConfig.from_settings(self.mapping(("resources",), {}))
            budget = build(BudgetConfig, self.mapping(("budget",), {}), "budget")
            tracking = build(TrackingConfig, self.mapping(("tracking",), {}), "tracking")
            early_stopping = self.mapping(("early_stopping",), {"scheduler": "none"})
            make_scheduler(early_stopping, search.mode)
            factors = {key: self.factor(key) for key in self.few("factors")}
            tuned = {key: self.tuned(key) for key in self.few("tuned")}
            SAMPLERS[search.sampler].check(search, tuple(tuned.values()))
            arms = self.arms(factors, tuned)
        except SettingError as error:
            self.refuse(error)
        except DataError as error:
            raise InputError(f"{self.place(('data',))}: data: {error}") from error
        by = self.confirmed_factor(confirm, factors)
        references = self.references(arms, factors, by)
        self.check_search(search, arms, set(references.values()), tuned)
        return Space(
            name=name,
            question=question,
            seed=seed,
            data=self.mapping(("data",)),
            factors=factors,
            tuned=tuned,
            arms={arm.label: arm for arm in arms},
            excluded=self.excluded,
            references=references,
            search=search,
            early_stopping=early_stopping,
            confirm=replace(confirm, by=by),
            resources=resources,
            budget=budget,
            tracking=tracking,
            source=self.data,
        )

    def at_its_site(self, space: Space, path: Path) -> Space:
        """The space with what its `cluster` means, which must have a price where money is limited."""
        cluster = cluster_of(self.data.get("cluster"), path)
        key = "usd_per_gpu_hour" if space.resources.gpus else "usd_per_cpu_hour"
        if space.budget.usd is not None and getattr(cluster, key) is None:
            rule = f"there is no price; say what an hour costs: cluster.{key}"
            self.fail(("budget", "usd"), rule, space.budget.usd)
        return replace(space, cluster=cluster)

    def parameter(self, path: Path_) -> None:
        """Check that the last part of a path names a parameter that is given only once."""
        group, key = path[0], str(path[-1])
        section, _, name = key.partition(".")
        if section not in SECTIONS or not name:
            self.fail(
                path, f"must be section.key, with one of these sections: {', '.join(SECTIONS)}"
            )
        if name in self.mapping((section,), {}):
            self.fail(path, f"stands under {section} too ({self.place((section, name))}); keep one")
        if group == "tuned" and key in self.mapping(("factors",)):
            self.fail(path, "is a factor too; it can be the one or the other")

    def levels(self, values: Any, path: Path_) -> tuple[Level, ...]:
        """A factor's levels: each a scalar, or a list of scalars."""
        for value in self.filled(values, path):
            items = value if isinstance(value, list) else [value]
            if not items or not all(map(is_scalar, items)):
                rule = "each value must be text, a number, true or false, or a list of these"
                self.fail(path, rule, value)
        levels = tuple(map(level_of, values))
        if len(set(levels)) < len(levels):
            self.fail(path, "a value stands here twice", values)
        return levels

    def scalars(self, values: Any, path: Path_) -> tuple[Scalar, ...]:
        """The values of a tuned parameter: distinct scalars."""
        for value in self.filled(values, path):
            if isinstance(value, list):
                self.fail(path, "a tuned value must not be a list; a level of a factor may", value)
            if not is_scalar(value):
                self.fail(path, "each value must be text, a number, true or false", value)
        if len(set(values)) < len(values):
            self.fail(path, "a value stands here twice", values)
        return tuple(values)

    def filled(self, values: Any, path: Path_) -> list[Any]:
        """A list that is not empty."""
        if not isinstance(values, list) or not values:
            self.fail(path, "must be a list with at least one value", values)
        return values

    def when(self, path: Path_, factors: Mapping[str, Any]) -> dict[str, tuple[Level, ...]]:
        """The `when:` of a factor or range; it may name factors above it and fixed values."""
        conditions = {}
        for key, given in self.mapping((*path, "when"), {}).items():
            at = (*path, "when", key)
            section, _, name = key.partition(".")
            if key in factors:
                known = self.factor(key).values
            elif name in self.mapping((section,), {}) if section in SECTIONS else False:
                known = (level_of(self.data[section][name]),)
            else:
                self.fail(at, f"must be a factor listed above. {nearest(key, factors)}")
            conditions[key] = self.alternatives(given, known, at)
        return conditions

    def implied(
        self, key: str, path: Path_, when: dict[str, tuple[Level, ...]]
    ) -> dict[str, tuple[Level, ...]]:
        """With the condition that goes without saying: a setting exists where the basis has it."""
        section, _, name = key.partition(".")
        if section != "attention" or name == "basis" or BASIS in when:
            return when
        bases = self.bases_above(key)
        having = tuple(basis for basis in bases if name in settings_of(basis))
        if not having:
            self.fail(path, rule_for_unknown(name, bases))
        return when if len(having) == len(bases) else {BASIS: having, **when}

    def bases_above(self, key: str) -> tuple[str, ...]:
        """The bases beside which a factor or a tuned parameter stands."""
        factors = self.data["factors"]
        if BASIS in factors and list(factors).index(BASIS) < [*factors, key].index(key):
            return tuple(map(str, self.factor(BASIS).values))
        return (self.mapping(("attention",), {}).get("basis", "softmax"),)

    def alternatives(self, given: Any, known: Sequence[Level], path: Path_) -> tuple[Level, ...]:
        """The levels that a condition names: one, or a list of several.

        A list that is a level itself is that one level.
        """
        several = tuple(map(level_of, given)) if isinstance(given, list) else (given,)
        strange = [value for value in several if value not in known]
        if isinstance(given, list) and level_of(given) in known:
            if not strange:
                rule = (
                    f"is a level, and each of its values is one too; for the list write [{given}]"
                )
                self.fail(path, rule, given)
            return (level_of(given),)
        if strange:
            self.fail(path, f"is never that. {nearest_level(strange[0], known)}", plain(strange[0]))
        return several

    def few(self, group: str) -> dict[str, Any]:
        """The entries under `factors` or `tuned`, of which there are not too many."""
        entries = self.mapping((group,), None if group == "factors" else {})
        if len(entries) > MAX_PARAMETERS:
            self.fail((group,), f"holds {len(entries)} parameters; at most {MAX_PARAMETERS}")
        return entries

    def factor(self, key: str) -> Factor:
        """One entry under `factors`."""
        if key not in self._factors:
            self._factors[key] = self._read_factor(key)
        return self._factors[key]

    def _read_factor(self, key: str) -> Factor:
        path: Path_ = ("factors", key)
        self.parameter(path)
        given = self.data["factors"][key]
        if isinstance(given, dict):
            self.known_keys(given, ("values", "when"), path)
            above = list(itertools.takewhile(lambda name: name != key, self.data["factors"]))
            when = self.when(path, dict.fromkeys(above))
            values = self.levels(given.get("values"), path)
        else:
            when, values = {}, self.levels(given, path)
        if key == "attention.basis":
            for value in values:
                settings_of(plain(value))  # refuses an unknown one before anything refers to it
        return Factor(name=key, values=values, when=self.implied(key, path, when))

    def tuned(self, key: str) -> Tuned:
        """One entry under `tuned`."""
        path: Path_ = ("tuned", key)
        self.parameter(path)
        given = self.mapping(path)
        self.known_keys(given, ("values", "low", "high", "log", "when"), path)
        when = self.implied(key, path, self.when(path, self.data["factors"]))
        log = given.get("log", False)
        if "values" in given:
            if {"low", "high", "log"} & set(given):
                self.fail(path, "give either values, or low and high")
            values = self.scalars(given["values"], path)
            return Tuned(name=key, values=values, low=None, high=None, log=False, when=when)
        low, high = (self.number((*path, name), given.get(name)) for name in ("low", "high"))
        if not isinstance(log, bool):
            self.fail((*path, "log"), "must be true or false", log)
        if not low < high:
            self.fail((*path, "high"), f"must be greater than low, {low:g}", high)
        if log and low <= 0:
            self.fail((*path, "low"), "must be greater than 0 on a logarithmic scale", low)
        return Tuned(name=key, values=None, low=low, high=high, log=log, when=when)

    def number(self, path: Path_, value: Any) -> int | float:
        """A number, and neither text nor true or false."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fail(path, "must be a number", value)
        return value

    # -- arms ---------------------------------------------------------------------------------

    def arms(self, factors: Mapping[str, Factor], tuned: Mapping[str, Tuned]) -> list[Arm]:
        """All combinations that can be run; those that cannot, with the rule, go to `excluded`."""
        self.check_fixed(factors)
        arms, excluded = [], []
        labels: set[str] = set()
        first_problem: CombinationError | None = None
        combinations = list(itertools.islice(self.combinations(factors), MAX_ARMS + 1))
        if len(combinations) > MAX_ARMS:
            self.fail(("factors",), f"more than {MAX_ARMS} combinations; use fewer levels")
        self.check_size(combinations, tuned)
        for levels in combinations:
            label = label_of(levels, self.spelled(factors))
            if label in labels:
                self.fail(
                    ("factors",), f"two combinations would be called {label!r}; rename a level"
                )
            labels.add(label)
            rule = self.exclusion(levels, factors)
            if rule is None:
                arm = self.arm(label, levels, tuned)
                try:
                    self.check_arm(arm, tuned)
                    arms.append(arm)
                except CombinationError as error:
                    first_problem = first_problem or error
                    rule = error.rule
            if rule is not None:
                excluded.append(Excluded(label=label, rule=rule))
        if first_problem is not None and not arms:
            at = next((k for k in first_problem.keys if self.stands(k)), "model")
            raise InputError(f"{self.place(self.path_of(at))}: {first_problem}")
        if not arms:
            self.fail(("exclude",), "leaves no combination to run")
        self.excluded = tuple(excluded)
        return arms

    def check_size(
        self, combinations: Sequence[Mapping[str, Level]], tuned: Mapping[str, Tuned]
    ) -> None:
        """Refuse more configurations than can be looked at."""
        checks = 0
        for levels in combinations:
            sizes = {k: len(ends(each)) for k, each in tuned.items() if self.exists(each, levels)}
            of_attention = [size - 1 for k, size in sizes.items() if k.startswith("attention.")]
            pairs = (sum(of_attention) ** 2 - sum(size**2 for size in of_attention)) // 2
            checks += 1 + sum(sizes.values()) + pairs
        if checks > MAX_CHECKS:
            rule = (
                f"with these factors {checks} configurations must be checked; at most {MAX_CHECKS}"
            )
            self.fail(("tuned",), f"{rule}; use ranges or fewer values")

    def combinations(self, factors: Mapping[str, Factor]) -> Iterator[dict[str, Level]]:
        """Every combination of levels, with the factors that exist in it."""

        def extend(rest: list[Factor], levels: dict[str, Level]) -> Iterator[dict[str, Level]]:
            if not rest:
                yield levels
            elif self.exists(rest[0], levels):
                for value in rest[0].values:
                    yield from extend(rest[1:], {**levels, rest[0].name: value})
            else:
                yield from extend(rest[1:], levels)

        return extend(list(factors.values()), {})

    def spelled(self, factors: Mapping[str, Factor]) -> set[str]:
        """Factors whose levels say nothing without their key: not all text, or `none` and the like."""
        return {
            key
            for key, factor in factors.items()
            if any(not isinstance(v, str) or v in GENERIC for v in factor.values)
        }

    def exists(self, parameter: Factor | Tuned, levels: Mapping[str, Level]) -> bool:
        """Whether a parameter exists beside these levels."""
        for key, values in parameter.when.items():
            section, _, name = key.partition(".")
            fixed = level_of(self.mapping((section,), {}).get(name))
            if levels.get(key, fixed) not in values:
                return False
        return True

    def exclusion(self, levels: Mapping[str, Level], factors: Mapping[str, Factor]) -> str | None:
        """The entry of `exclude` that leaves out this combination, as a phrase."""
        entries = self.data.get("exclude", [])
        if not isinstance(entries, list):
            self.fail(("exclude",), "must be a list of combinations", entries)
        for index, entry in enumerate(entries):
            path: Path_ = ("exclude", index)
            if not isinstance(entry, dict) or not entry:
                self.fail(path, "must hold `factor: level` lines", entry)
            self.known_keys(entry, tuple(self.data["factors"]), path)
            for key, value in entry.items():
                if isinstance(value, list) and level_of(value) not in factors[key].values:
                    rule = "is not a level of this factor; for several levels write several entries"
                    self.fail((*path, key), rule, value)
            if all(levels.get(key) == level_of(value) for key, value in entry.items()):
                return f"excluded by {self.place(path)}"
        return None

    def arm(self, label: str, levels: dict[str, Level], tuned: Mapping[str, Tuned]) -> Arm:
        """The arm of a combination: fixed values that do not exist in it are left out."""
        sections = {name: dict(self.mapping((name,), {})) for name in SECTIONS}
        for key, value in levels.items():
            section, _, name = key.partition(".")
            sections[section][name] = plain(value)
        basis = sections["attention"].get("basis", "softmax")
        fixed = self.mapping(("attention",), {})
        applicable = settings_of(basis)
        sections["attention"] = {
            key: value
            for key, value in sections["attention"].items()
            if key in applicable or key not in fixed
        }
        chosen = tuple(key for key, parameter in tuned.items() if self.exists(parameter, levels))
        return Arm(label=label, factors=levels, sections=sections, tuned=chosen)

    def check_arm(self, arm: Arm, tuned: Mapping[str, Tuned]) -> None:
        """Build the configurations at the ends of every range, of attention settings in pairs."""
        lows = {key: ends(tuned[key])[0] for key in arm.tuned}
        self.check_config(arm.config(lows))
        of_attention = [key for key in arm.tuned if key.startswith("attention.")]
        corners: list[dict[str, Level]] = [
            {key: value} for key in arm.tuned for value in ends(tuned[key])
        ]
        for pair in itertools.combinations(of_attention, 2):
            of_pair = itertools.product(*(ends(tuned[key])[1:] for key in pair))
            corners += [dict(zip(pair, values, strict=True)) for values in of_pair]
        for corner in corners:
            try:
                self.check_config(arm.config({**lows, **corner}))
            except CombinationError as error:
                shown = ", ".join(f"{key} = {shorten(value)}" for key, value in corner.items())
                self.fail(("tuned", *list(corner)[:1]), f"{shown} in {arm.label}: {error}")

    def check_config(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Build a configuration, but for one whose parts all stood in right ones before.

        How a model is trained does not change whether the model can be built, so of a grid over
        both only a few configurations are built.
        """
        training = {"training": sections["training"]}
        shape = {name: sections[name] for name in SECTIONS if name not in training}
        parts = {json.dumps(part, sort_keys=True, default=repr) for part in (training, shape)}
        if not parts <= self.right:
            TrialConfig.from_sections(sections).check()
            self.right |= parts

    def check_fixed(self, factors: Mapping[str, Factor]) -> None:
        """Refuse a fixed attention setting that exists in no arm."""
        fixed = self.mapping(("attention",), {})
        given = factors[BASIS].values if BASIS in factors else (fixed.get("basis", "softmax"),)
        bases = tuple(map(str, given))
        known = set().union(*map(settings_of, bases))
        for key in fixed:
            if key not in known:
                self.fail(("attention", key), rule_for_unknown(key, bases))

    def path_of(self, key: str) -> Path_:
        """The path in the file of a parameter's full name."""
        for group in ("factors", "tuned"):
            if key in self.mapping((group,), {}):
                return (group, key)
        return tuple(key.split("."))

    def stands(self, key: str) -> bool:
        """Whether the parameter stands in the file."""
        return self.path_of(key) in self.places

    # -- what goes together -------------------------------------------------------------------

    def confirmed_factor(self, confirm: ConfirmConfig, factors: Mapping[str, Factor]) -> str:
        """Settle which factor's levels are confirmed."""
        by = confirm.by
        if by is None and len(factors) == 1:
            by = next(iter(factors))
        if by is None or by not in factors:
            rule = f"must be the factor whose levels are confirmed. {nearest(by, factors)}"
            self.fail(("confirm", "by"), rule, by)
        return by

    def references(
        self, arms: list[Arm], factors: Mapping[str, Factor], by: str
    ) -> dict[Level, str]:
        """For each level of `by` that is confirmed, the arm that it is compared with."""
        fitting = self.fitting(arms, factors)
        others = [arm for arm in arms if arm not in fitting]
        contested = [
            level
            for level in factors[by].values
            if any(arm.factors.get(by) == level for arm in others)
        ]
        if len(fitting) == 1:
            if not contested:
                why = f": {self.excluded[0].rule}" if self.excluded else ""
                self.fail(("confirm", "by"), f"exists in no arm but the reference{why}", by)
            return dict.fromkeys(contested, fitting[0].label)
        at_level = Counter(arm.factors.get(by) for arm in fitting)
        if by in self.wanted() or at_level != Counter(factors[by].values):
            self.refuse_references(fitting, factors, by)
        for level in factors[by].values:
            if level not in contested:
                rule = f"has no arm but its reference at {level_text(level)}; take that level out"
                self.fail(("confirm", "by"), rule, by)
        return {level: arm.label for arm in fitting if (level := arm.factors[by]) in contested}

    def wanted(self) -> dict[str, Level]:
        """The levels that make an arm a reference."""
        given = self.mapping(("reference",), {"attention.basis": "softmax"})
        return {key: level_of(value) for key, value in given.items()}

    def fitting(self, arms: list[Arm], factors: Mapping[str, Factor]) -> list[Arm]:
        """The arms that have all levels that `reference` names."""
        for key, level in self.wanted().items():
            if key not in factors:
                rule = f"must be one of the factors. {nearest(key, factors)}"
                self.fail(("reference", key), rule)
            if level not in factors[key].values:
                rule = f"is not a level of this factor. {nearest_level(level, factors[key].values)}"
                self.fail(("reference", key), rule, plain(level))
        wanted = self.wanted().items()
        return [arm for arm in arms if all(arm.factors.get(k) == v for k, v in wanted)]

    def refuse_references(
        self, fitting: list[Arm], factors: Mapping[str, Factor], by: str
    ) -> NoReturn:
        """Say how many arms `reference` fits, and what would make it fit one, or one at each level."""
        differing = [
            key
            for key in factors
            if key != by and len({arm.factors.get(key) for arm in fitting}) > 1
        ]
        found = {arm.factors.get(by) for arm in fitting}
        missing = [level_text(level) for level in factors[by].values if level not in found]
        advice = f"it fits none at {', '.join(missing)}"
        if differing:
            advice = f"name a level of {', '.join(differing)} too"
        elif not fitting:
            advice = "no arm has all of this"
        shown = ", ".join(arm.label for arm in fitting[:4]) + ", ..." * (len(fitting) > 4)
        self.fail(
            ("reference",),
            f"must fit one arm, or one at each level of {by}; it fits {len(fitting)}"
            f"{f' ({shown})' if fitting else ''}: {advice}",
        )

    def check_search(
        self,
        search: SearchConfig,
        arms: list[Arm],
        references: set[str],
        tuned: Mapping[str, Tuned],
    ) -> None:
        """Refuse a budget that does not reach every arm, and a grid without end."""
        if search.trials is None:
            grid = sum(math.prod(len(ends(tuned[k])) for k in arm.tuned) for arm in arms)
            if grid > MAX_TRIALS:
                self.fail(("tuned",), f"the grid has {grid} trials; at most {MAX_TRIALS}")
            return
        if search.allocation == "equal" and search.trials < len(arms):
            rule = f"must be at least {len(arms)}, one for each arm"
            self.fail(("search", "trials"), rule, search.trials)
        if search.allocation == "free" and search.trials <= len(references):
            rule = f"must be at least {len(references) + 1}, one for each reference and one for the others"
            self.fail(("search", "trials"), rule, search.trials)


def ends(tuned: Tuned) -> tuple[Level, ...]:
    """The values at which a tuned parameter is checked."""
    if tuned.values is not None:
        return tuned.values
    assert tuned.low is not None
    assert tuned.high is not None
    return (tuned.low, tuned.high)


def rule_for_unknown(setting: str, bases: Sequence[str]) -> str:
    """Why an attention setting is refused that none of the bases has."""
    if setting in settings_of_all():
        return f"exists for none of the bases here: {', '.join(bases)}"
    return f"unknown key. {nearest_setting(setting)}"


def is_scalar(value: object) -> bool:
    """Text, a number, true or false."""
    return isinstance(value, str | int | float)


def nearest_level(level: Level, known: Sequence[Level]) -> str:
    """`nearest`, for levels."""
    return nearest(plain(level), map(plain, known))
