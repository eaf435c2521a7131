"""From a YAML file to a checked `Space`; every error names file, line, value and rule."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from karat.advice import advice_on
from karat.attention.names import BASIS, MECHANISM, has_basis, settings_of
from karat.errors import DataError, InputError, SettingError, nearest
from karat.parameters import Factor, Level, Scalar, Tuned, is_scalar, level_of, nearest_level, plain
from karat.samplers import SAMPLERS, SearchConfig
from karat.settings import build
from karat.space.arms import Arms, kinds_of, rule_for_unknown
from karat.space.confirmation.comparable import check_comparable
from karat.space.confirmation.places import check_places
from karat.space.confirmation.published import check_published
from karat.space.confirmation.references import confirmed_factor, references
from karat.space.confirmation.shortlist import check_shortlist
from karat.space.confirmation.tunings import check_tunings
from karat.space.design.reading import with_design
from karat.space.document import KEYS, SpaceData, hint_for, why_no_parameter
from karat.space.matching.arms import Prices, with_matched
from karat.space.matching.measuring import Measuring
from karat.space.overrides import place_of
from karat.space.search_size import check_search
from karat.space.settings import BudgetConfig, ConfirmConfig, ResourceConfig, TrackingConfig
from karat.space.site import Site, read_site
from karat.space.space import SECTIONS, Space
from karat.space.stopping import arm_sizes, read_stopping
from karat.space.yaml_reader import Document, Path_, parse_scalar, read_yaml
from karat.statistics.metric import Metric
from karat.training.watching.config import WATCHING

MAX_PARAMETERS = 50  # factors, and tuned parameters


def load_space(
    path: Path,
    overrides: Mapping[str, str] | None = None,
    name: str | None = None,
    document: Document | None = None,
    cluster: Site | None = None,
    measuring: Measuring | None = None,
) -> Space:
    """Read and check a space.

    Args:
        path: the YAML file.
        overrides: `--set` assignments, dotted key to YAML text.
        name: name of the study instead of the file's `study`.
        document: data of the file, if it has already been read.
        cluster: the site instead of the file's `cluster`.
        measuring: what `match` needs for time and memory; without it a space that matches them is refused.

    Raises:
        InputError: what is wrong, with file and line, and what would be right.
    """
    reader = SpaceFile(read_yaml(path) if document is None else document, str(path))
    for key, text in (overrides or {}).items():
        reader.override(key, text)
    if name is not None:
        reader.assign(("study",), name, "--name")
    reader.measuring = measuring
    space = reader.read()
    reader.refuse_misleading(space)
    if cluster is None:
        place = reader.place(("cluster",))
        cluster = read_site(reader.data.get("cluster"), path, place)
    return reader.at_a_site(space, cluster)


def space_of(
    source: Mapping[str, Any],
    name: str,
    place: str,
    early_stopping: Mapping[str, Any] | None = None,
) -> Space:
    """The space that a journal contains. Its data is not looked at, and may lie elsewhere by now.

    Args:
        source: `Space.source`, as the journal stores it.
        name: name of the study.
        place: where the source is from, for messages.
        early_stopping: what the journal says it is; used where the source names no scheduler.

    Raises:
        InputError: this version of karat does not accept the space.
    """
    reader = SpaceFile(Document({**source, "study": name}, {}), place)
    return reader.read(early_stopping, looks_at_data=False)


class SpaceFile(SpaceData):
    """Reads and checks the data of a space; `SpaceData` knows the source of every value."""

    def __init__(self, document: Document, file: str) -> None:
        super().__init__(document, file)
        self.measuring: Measuring | None = None
        # A cache: each `when` needs the factors above it, which would be read again and again.
        self._factors: dict[str, Factor] = {}
        self.known_keys(self.data, KEYS, ())

    def override(self, key: str, text: str) -> None:
        """Apply one `--set key=value`."""
        place = place_of(key, text)
        parts = key.split(".")
        if parts[0] not in KEYS:
            raise InputError(f"{place}: unknown key {parts[0]!r}. {hint_for(parts[0])}")
        path: Path_ = tuple(parts)
        # There a full name with a dot is one key: `factors.model.embed_dim`.
        if parts[0] in ("factors", "tuned", "reference") and len(parts) >= 3:
            path = (parts[0], ".".join(parts[1:3]), *parts[3:])
        elif parts[:2] == ["match", "change"] and len(parts) == 4:
            path = ("match", "change", ".".join(parts[2:]))
        elif parts[0] in SECTIONS and len(parts) == 2:
            for group in ("factors", "tuned"):
                if key in self.mapping((group,), {}):
                    raise InputError(
                        f"{place}: {key} is one of the {group} here; use --set {group}.{key}=..."
                    )
        self.assign(path, parse_scalar(text, place), place)

    def read(self, recorded: Mapping[str, Any] | None = None, looks_at_data: bool = True) -> Space:
        """The checked space.

        Args:
            recorded: the early stopping in a journal, used where neither file nor design name a scheduler.
            looks_at_data: whether the data must be here.
        """
        name, question, seed = self.title()
        try:
            search = build(SearchConfig, self.mapping(("search",)), "search")
            confirm = build(ConfirmConfig, self.mapping(("confirm",), {}), "confirm")
            confirm.check_unit(search.metric)
            resources = ResourceConfig.from_settings(self.mapping(("resources",), {}))
            budget = build(BudgetConfig, self.mapping(("budget",), {}), "budget")
            tracking = build(TrackingConfig, self.mapping(("tracking",), {}), "tracking")
            factors = {key: self.factor(key) for key in self.few("factors")}
            tuned = {key: self.tuned(key) for key in self.few("tuned")}
            SAMPLERS[search.sampler].check(search, tuple(tuned.values()))
            arms = Arms(self, factors, tuned, looks_at_data=looks_at_data)
            confirm = with_design(self, arms.design, search, confirm)
        except SettingError as error:
            self.refuse(error)
        except DataError as error:
            raise InputError(f"{self.place(('data', 'root'))}: data: {error}") from error
        by = confirmed_factor(self, confirm, factors)
        prices = Prices(measuring=self.measuring, resources=resources)
        raw = references(self, arms.found, arms.excluded, factors, by, arms.wanted)
        try:
            matched = with_matched(self, arms.found, arms.check_arm, raw, search, tuned, prices)
        except SettingError as error:
            self.refuse(error)
        found, compared = matched.arms, matched.references
        check_search(self, search, found, set(compared.values()), tuned)
        confirm = replace(confirm, by=by, shortlist_seeds=confirm.fresh_seeds or None)
        check_tunings(self, search, confirm, found, set(compared.values()))
        sizes = arm_sizes(found, search, tuned, confirm.tunings)
        try:
            confirm.check_lengths(max(each.epochs for each in sizes.values()))
        except SettingError as error:
            self.refuse(error)
        check_shortlist(self, search, confirm, found, compared, sizes)
        check_published(self, factors, arms.found, Metric(name=search.metric, mode=search.mode))
        return Space(
            name=name,
            question=question,
            seed=seed,
            design=arms.design,
            data=self.mapping(("data",)),
            factors=factors,
            tuned=tuned,
            arms={arm.label: arm for arm in found},
            excluded=tuple(arms.excluded),
            references=compared,
            search=search,
            early_stopping=read_stopping(self, search, sizes, arms.design.stopping or recorded),
            sizes=sizes,
            confirm=confirm,
            resources=resources,
            budget=budget,
            tracking=tracking,
            source=self.data,
            match=matched.config,
        )

    def refuse_misleading(self, space: Space) -> None:
        """Refuse what a file most likely does not mean. Journals are not asked: what has run stays readable."""
        check_comparable(self, tuple(space.arms.values()), space.tuned)
        check_places(self, space)
        try:
            space.confirm.check_longest(max(each.epochs for each in space.sizes.values()))
        except SettingError as error:
            self.refuse(error)

    def at_a_site(self, space: Space, cluster: Site) -> Space:
        """The space with its site, which must have a price if the budget limits dollars."""
        key = "usd_per_gpu_hour" if space.resources.gpus else "usd_per_cpu_hour"
        if space.budget.usd is not None and getattr(cluster, key) is None:
            rule = f"needs a price of an hour: set cluster.{key}"
            self.fail(("budget", "usd"), rule, space.budget.usd)
        return replace(space, cluster=cluster)

    def parameter(self, path: Path_) -> None:
        """Check that the last part of a path is the full name of a parameter, given only once."""
        group, key = path[0], str(path[-1])
        section, _, name = key.partition(".")
        if section not in SECTIONS or not name:
            self.fail(path, why_no_parameter(key, self.data[str(group)][key]))
        if name in self.mapping((section,), {}):
            place = self.place((section, name))
            self.fail(path, f"is also set in section {section} ({place}); keep one of them")
        if section == "training" and name in WATCHING:
            self.fail(
                path, f"changes no result, so it is not compared; set it in the section {section}"
            )
        if group == "tuned" and key in self.mapping(("factors",)):
            self.fail(path, "is also a factor; keep one of them")

    def levels(self, values: Any, path: Path_) -> tuple[Level, ...]:
        """The levels of a factor, each a scalar or a list of scalars."""
        for value in self.filled(values, path):
            items = value if isinstance(value, list) else [value]
            if not items or not all(map(is_scalar, items)):
                rule = "each value must be text, a number, true or false, or a list of these"
                self.fail(path, rule, value)
        levels = tuple(map(level_of, values))
        if len(set(levels)) < len(levels):
            self.fail(path, "contains a value twice", values)
        return levels

    def scalars(self, values: Any, path: Path_) -> tuple[Scalar, ...]:
        """The values of a tuned parameter: distinct scalars."""
        for value in self.filled(values, path):
            if isinstance(value, list):
                self.fail(path, "a tuned value must not be a list; a level of a factor may", value)
            if not is_scalar(value):
                self.fail(path, "each value must be text, a number, true or false", value)
        if len(set(values)) < len(values):
            self.fail(path, "contains a value twice", values)
        return tuple(values)

    def when(self, path: Path_, factors: Mapping[str, Any]) -> dict[str, tuple[Level, ...]]:
        """The `when` of a factor or range; it may name fixed values and factors listed above it."""
        conditions = {}
        for key, given in self.mapping((*path, "when"), {}).items():
            at = (*path, "when", key)
            section, _, name = key.partition(".")
            if key in factors:
                known = self.factor(key).values
            elif name in self.mapping((section,), {}) if section in SECTIONS else False:
                known = (level_of(self.data[section][name]),)
            else:
                is_below = key in self.data["factors"] and key != path[-1]
                move = f"; list it above {path[-1]}" if is_below else ""
                self.fail(at, f"must be a factor listed above{move}. {nearest(key, factors)}")
            conditions[key] = self.alternatives(given, known, at)
        return conditions

    def implied(
        self, key: str, path: Path_, when: dict[str, tuple[Level, ...]]
    ) -> dict[str, tuple[Level, ...]]:
        """The conditions, with implied ones: mechanism and basis must have the setting."""
        section, _, name = key.partition(".")
        if section != "attention" or key == MECHANISM:
            return when
        above = self.kinds_above(key)
        if key == BASIS and MECHANISM not in above:
            return when
        kinds = [
            kind
            for kind in kinds_of(self.mapping(("attention",), {}), above)
            if all(value in when.get(f"attention.{part}", (value,)) for part, value in kind.items())
        ]
        if not kinds:
            self.fail(path, "exists in no combination: its conditions contradict each other")
        having = [kind for kind in kinds if name in self.settings_beside(kind, key)]
        if not having:
            self.fail(path, rule_for_unknown(name, kinds))
        implied = {}
        for each in above:
            part = each.partition(".")[2]
            values = dict.fromkeys(kind[part] for kind in having if part in kind)
            lacking = {kind[part] for kind in kinds if part in kind} - values.keys()
            if each not in when and lacking:
                implied[each] = tuple(values)
        return {**implied, **when}

    def settings_beside(self, kind: Mapping[str, Any], key: str) -> frozenset[str]:
        """The attention settings that exist for a mechanism and a basis."""
        if key == BASIS:  # which is not known yet; every mechanism with a basis has this setting
            return frozenset({"basis"} if has_basis(kind["mechanism"]) else ())
        return settings_of(kind)

    def kinds_above(self, key: str) -> dict[str, Factor]:
        """The factors that choose mechanism and basis, as far as they are listed above `key`."""
        order = [*self.data["factors"], key]
        above = order[: order.index(key)]
        return {each: self.factor(each) for each in (MECHANISM, BASIS) if each in above}

    def alternatives(self, given: Any, known: Sequence[Level], path: Path_) -> tuple[Level, ...]:
        """The levels that a condition allows: one, or a list of several.

        A list that is itself a level counts as that one level.
        """
        several = tuple(map(level_of, given)) if isinstance(given, list) else (given,)
        unknown = [value for value in several if value not in known]
        if isinstance(given, list) and level_of(given) in known:
            if not unknown:
                rule = (
                    f"is ambiguous: one level, or several; for the list as a level write [{given}]"
                )
                self.fail(path, rule, given)
            return (level_of(given),)
        if unknown:
            rule = f"never has this value. {nearest_level(unknown[0], known)}"
            self.fail(path, rule, plain(unknown[0]))
        return several

    def few(self, group: str) -> dict[str, Any]:
        """The entries under `factors` or `tuned`, at most `MAX_PARAMETERS`."""
        entries = self.mapping((group,), None if group == "factors" else {})
        if group == "factors" and not entries:
            rule = "must have at least one factor; write attention.mechanism: [softmax, karat]"
            self.fail((group,), rule, entries)
        if len(entries) > MAX_PARAMETERS:
            self.fail((group,), f"has {len(entries)} parameters; at most {MAX_PARAMETERS}")
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
            if "values" not in given and {"low", "high"} & set(given):
                rule = (
                    "has levels, {values: [1, 3]}; a range, {low, high}, is for the section tuned"
                )
                self.fail(path, rule, given)
            self.known_keys(given, ("values", "when"), path)
            above = list(itertools.takewhile(lambda name: name != key, self.data["factors"]))
            when = self.when(path, dict.fromkeys(above))
            values = self.levels(given.get("values"), path)
        else:
            when, values = {}, self.levels(given, path)
        # Refuses unknown ones here, where they are listed, and not where a `when` names them.
        if key in (BASIS, MECHANISM):
            for value in map(plain, values):
                settings_of(self.with_level(key, value))
        return Factor(name=key, values=values, when=self.implied(key, path, when))

    def with_level(self, key: str, level: Any) -> dict[str, Any]:
        """Attention settings in which a level of mechanism or basis is the only unknown one."""
        if key == MECHANISM:
            return {"mechanism": level, "basis": "fourier"}
        is_named = MECHANISM in self.data["factors"] or "mechanism" in self.mapping(
            ("attention",), {}
        )
        return {"basis": level, **({"mechanism": "karat"} if is_named else {})}

    def tuned(self, key: str) -> Tuned:
        """One entry under `tuned`."""
        path: Path_ = ("tuned", key)
        self.parameter(path)
        given = self.data["tuned"][key]
        if given is not None and not isinstance(given, dict):
            rule = "must be a range {low: 0.001, high: 0.01}, or {values: [...]}"
            self.fail(path, rule, given)
        given = self.mapping(path)
        self.known_keys(given, ("values", "low", "high", "log", "when"), path)
        when = self.implied(key, path, self.when(path, self.data["factors"]))
        log = given.get("log", False)
        if "values" in given:
            if {"low", "high", "log"} & set(given):
                self.fail(path, "give either values, or low and high")
            values = self.scalars(given["values"], path)
            return Tuned(name=key, values=values, low=None, high=None, log=False, when=when)
        for name in ("low", "high"):
            if name not in given:
                self.fail((*path, name), "is missing; a range is {low, high}")
        low, high = (self.number((*path, name), given[name]) for name in ("low", "high"))
        if not isinstance(log, bool):
            advice = advice_on(log, bool)
            rule = f"must be true or false{f'; {advice}' if advice else ''}"
            self.fail((*path, "log"), rule, log)
        if not low < high:
            self.fail((*path, "high"), f"must be greater than low, {low:g}", high)
        if log and low <= 0:
            self.fail((*path, "low"), "must be greater than 0 on a logarithmic scale", low)
        return Tuned(name=key, values=None, low=low, high=high, log=log, when=when)
