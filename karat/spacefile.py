"""From a YAML file to a checked `Space`: every refusal names file, line, value and rule."""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from karat.attention import settings_of, settings_of_all
from karat.errors import CombinationError, DataError, InputError, SettingError, nearest, shorten
from karat.samplers import SAMPLERS
from karat.schedulers import make_scheduler
from karat.settings import build, fields_of
from karat.space import (
    SECTIONS,
    Arm,
    ConfirmConfig,
    Excluded,
    Factor,
    Level,
    ResourceConfig,
    SearchConfig,
    Space,
    Tuned,
)
from karat.training import TrialConfig
from karat.yamlfile import Path_, parse_scalar, read_yaml

KEYS = (
    *("study", "question", "seed", *SECTIONS, "reference", "factors", "tuned", "exclude"),
    *("search", "early_stopping", "confirm", "resources"),
)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MAX_ARMS = 1000


def load_space(
    path: Path, overrides: Mapping[str, str] | None = None, name: str | None = None
) -> Space:
    """Read and check a space.

    Args:
        path: the YAML file.
        overrides: `--set` assignments, dotted key to YAML text.
        name: in place of the file's `study`.

    Raises:
        InputError: what is wrong, with file and line, and what would be right.
    """
    reader = SpaceFile(path)
    for key, text in (overrides or {}).items():
        reader.override(key, text)
    if name is not None:
        reader.assign(("study",), name, "--name")
    return reader.read()


class SpaceFile:
    """A space's data while it is read; knows where every value came from."""

    def __init__(self, path: Path) -> None:
        document = read_yaml(path)
        self.file = str(path)
        self.places = {key: f"{path}:{line}" for key, line in document.lines.items()}
        if not isinstance(document.data, dict):
            raise InputError(f"{path}: must hold `key: value` lines. Known: {', '.join(KEYS)}")
        self.data: dict[str, Any] = document.data
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
        place = f"--set {key}={text}"
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
        name = self.data.get("study")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            rule = (
                "must be lower-case letters, digits, - and _, at most 63, not starting with - or _"
            )
            self.fail(("study",), rule, name)
        question, seed = self.data.get("question", ""), self.data.get("seed", 0)
        if not isinstance(question, str):
            self.fail(("question",), "must be text", question)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            self.fail(("seed",), "must be a whole number, at least 0", seed)
        try:
            search = build(SearchConfig, self.mapping(("search",)), "search")
            confirm = build(ConfirmConfig, self.mapping(("confirm",), {}), "confirm")
            resources = build(ResourceConfig, self.mapping(("resources",), {}), "resources")
            early_stopping = self.mapping(("early_stopping",), {"scheduler": "none"})
            make_scheduler(early_stopping, search.mode)
            factors = {key: self.factor(key) for key in self.mapping(("factors",))}
            tuned = {key: self.tuned(key) for key in self.mapping(("tuned",), {})}
            SAMPLERS[search.sampler].check(search, tuple(tuned.values()))
            arms, excluded = self.arms(factors, tuned)
        except SettingError as error:
            self.refuse(error)
        except DataError as error:
            raise InputError(f"{self.place(('data',))}: data: {error}") from error
        reference = self.reference(arms, factors)
        self.check_search(search, arms)
        confirm = self.check_confirm(confirm, factors, arms, reference)
        return Space(
            name=name,
            question=question,
            seed=seed,
            data=self.mapping(("data",)),
            factors=factors,
            tuned=tuned,
            arms={arm.label: arm for arm in arms},
            excluded=tuple(excluded),
            reference=reference.label,
            search=search,
            early_stopping=early_stopping,
            confirm=confirm,
            resources=resources,
            source=self.data,
        )

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
        """A list of distinct scalars."""
        if not isinstance(values, list) or not values:
            self.fail(path, "must be a list with at least one value", values)
        for value in values:
            if not isinstance(value, str | int | float):
                self.fail(path, "each value must be text, a number, true or false", value)
        if len({repr(value) for value in values}) < len(values):
            self.fail(path, "a value stands here twice", values)
        return tuple(values)

    def when(self, path: Path_, factors: Mapping[str, Any]) -> dict[str, tuple[Level, ...]]:
        """The `when:` of a factor or range; it may name factors above it and fixed values."""
        conditions = {}
        for key, values in self.mapping((*path, "when"), {}).items():
            at = (*path, "when", key)
            values = values if isinstance(values, list) else [values]
            section, _, name = key.partition(".")
            if key in factors:
                known = self.factor(key).values
            elif name in self.mapping((section,), {}) if section in SECTIONS else False:
                known = (self.data[section][name],)
            else:
                self.fail(at, f"must be a factor listed above. {nearest(key, factors)}")
            for value in values:
                if value not in known:
                    self.fail(at, f"is never that. {nearest(value, known)}", value)
            conditions[key] = tuple(values)
        return conditions

    def factor(self, key: str) -> Factor:
        """One entry under `factors`."""
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
                settings_of(value)  # refuses an unknown one before anything refers to it
        return Factor(name=key, values=values, when=when)

    def tuned(self, key: str) -> Tuned:
        """One entry under `tuned`."""
        path: Path_ = ("tuned", key)
        self.parameter(path)
        given = self.mapping(path)
        self.known_keys(given, ("values", "low", "high", "log", "when"), path)
        when = self.when(path, self.data["factors"])
        log = given.get("log", False)
        if "values" in given:
            if {"low", "high", "log"} & set(given):
                self.fail(path, "give either values, or low and high")
            values = self.levels(given["values"], path)
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

    def arms(
        self, factors: Mapping[str, Factor], tuned: Mapping[str, Tuned]
    ) -> tuple[list[Arm], list[Excluded]]:
        """All combinations that can be run, and those that cannot, with the rule."""
        self.check_fixed(factors)
        arms, excluded = [], []
        first_problem: CombinationError | None = None
        combinations = itertools.islice(self.combinations(factors), MAX_ARMS + 1)
        for levels in combinations:
            label = label_of(levels)
            rule = self.exclusion(levels)
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
        if len(arms) + len(excluded) > MAX_ARMS:
            self.fail(("factors",), f"more than {MAX_ARMS} combinations; use fewer levels")
        if first_problem is not None and not arms:
            at = next((k for k in first_problem.keys if self.stands(k)), "model")
            raise InputError(f"{self.place(self.path_of(at))}: {first_problem}")
        if not arms:
            self.fail(("exclude",), "leaves no combination to run")
        return arms, excluded

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

    def exists(self, parameter: Factor | Tuned, levels: Mapping[str, Level]) -> bool:
        """Whether a parameter exists beside these levels."""
        for key, values in parameter.when.items():
            section, _, name = key.partition(".")
            fixed = self.mapping((section,), {}).get(name)
            if levels.get(key, fixed) not in values:
                return False
        return True

    def exclusion(self, levels: Mapping[str, Level]) -> str | None:
        """The entry of `exclude` that leaves out this combination, as a phrase."""
        entries = self.data.get("exclude", [])
        if not isinstance(entries, list):
            self.fail(("exclude",), "must be a list of combinations", entries)
        for index, entry in enumerate(entries):
            path: Path_ = ("exclude", index)
            if not isinstance(entry, dict) or not entry:
                self.fail(path, "must hold `factor: level` lines", entry)
            self.known_keys(entry, tuple(self.data["factors"]), path)
            if all(levels.get(key) == value for key, value in entry.items()):
                return f"excluded by {self.place(path)}"
        return None

    def arm(self, label: str, levels: dict[str, Level], tuned: Mapping[str, Tuned]) -> Arm:
        """The arm of a combination: fixed values that do not exist in it are left out."""
        sections = {name: dict(self.mapping((name,), {})) for name in SECTIONS}
        for key, value in levels.items():
            section, _, name = key.partition(".")
            sections[section][name] = value
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
        """Build the configurations at both ends of every range."""
        lows = {key: ends(tuned[key])[0] for key in arm.tuned}
        for key in arm.tuned:
            for value in ends(tuned[key]):
                TrialConfig.from_sections(arm.config({**lows, key: value}))
        TrialConfig.from_sections(arm.config(lows)).check()

    def check_fixed(self, factors: Mapping[str, Factor]) -> None:
        """Refuse a fixed attention setting that exists in no arm."""
        basis = factors.get("attention.basis")
        fixed = self.mapping(("attention",), {})
        bases = basis.values if basis else (fixed.get("basis", "softmax"),)
        known = set().union(*(settings_of(each) for each in bases))
        for key in fixed:
            if key not in known:
                everywhere = settings_of_all()
                rule = f"unknown key. {nearest(key, everywhere)}"
                if key in everywhere:
                    rule = f"exists for none of the bases here: {', '.join(map(str, bases))}"
                self.fail(("attention", key), rule)

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

    def reference(self, arms: list[Arm], factors: Mapping[str, Factor]) -> Arm:
        """The arm that everything is compared with."""
        wanted = self.mapping(("reference",), {"attention.basis": "softmax"})
        for key, value in wanted.items():
            if key not in factors:
                rule = f"must be one of the factors. {nearest(key, factors)}"
                self.fail(("reference", key), rule)
            if value not in factors[key].values:
                rule = f"is not a level of this factor. {nearest(value, factors[key].values)}"
                self.fail(("reference", key), rule, value)
        matching = [arm for arm in arms if all(arm.factors.get(k) == v for k, v in wanted.items())]
        if len(matching) != 1:
            shown = ", ".join(arm.label for arm in matching[:4]) or "none"
            self.fail(
                ("reference",), f"must fit exactly one arm; it fits {len(matching)} ({shown})"
            )
        return matching[0]

    def check_search(self, search: SearchConfig, arms: list[Arm]) -> None:
        """Refuse a budget that does not reach every arm."""
        if search.trials is not None and search.allocation == "equal" and search.trials < len(arms):
            rule = f"must be at least {len(arms)}, one for each arm"
            self.fail(("search", "trials"), rule, search.trials)

    def check_confirm(
        self,
        confirm: ConfirmConfig,
        factors: Mapping[str, Factor],
        arms: list[Arm],
        reference: Arm,
    ) -> ConfirmConfig:
        """Settle which factor's levels are confirmed."""
        by = confirm.by
        if by is None and len(factors) == 1:
            by = next(iter(factors))
        if by not in factors:
            rule = f"must be the factor whose levels are confirmed. {nearest(by, factors)}"
            self.fail(("confirm", "by"), rule, by)
        if not any(by in arm.factors for arm in arms if arm is not reference):
            self.fail(("confirm", "by"), "exists in no arm but the reference", by)
        settings = {key: getattr(confirm, key) for key in fields_of(ConfirmConfig)}
        return ConfirmConfig(**{**settings, "by": by})


def ends(tuned: Tuned) -> tuple[Level, ...]:
    """The values at which a tuned parameter is checked."""
    if tuned.values is not None:
        return tuned.values
    assert tuned.low is not None
    assert tuned.high is not None
    return (tuned.low, tuned.high)


def label_of(levels: Mapping[str, Level]) -> str:
    """A short label: text as it is, numbers and truth values with their key."""
    return " ".join(
        value if isinstance(value, str) else f"{key.rpartition('.')[2]}={value}"
        for key, value in levels.items()
    )
