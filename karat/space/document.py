"""The data of a space with the source of every value (file and line, or option) for messages."""

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, NoReturn

from karat.advice import advice_on, in_brackets
from karat.errors import InputError, SettingError, UnknownKeyError, nearest, shorten, written_out
from karat.settings import fields_of, unknown_key
from karat.space.overrides import why_no_name
from karat.space.space import SECTIONS
from karat.space.yaml_reader import Document, Path_

MEANINGS = {
    "study": "name of the study and of its folder: lower-case letters, digits, `-` and `_`, at most 63. Required",
    "question": "what is asked, in a sentence; shown in the plan, the report and MLflow",
    "seed": "whole number from 0, from which all seeds are derived; 0 if omitted",
    "data": "the data set. Fixed values, as in the next three sections",
    "model": "the vision transformer",
    "attention": "the attention mechanism",
    "training": "the recipe, and what replaces values of it",
    "reference": "the arm that others are compared with, as `factor: level`; it matches one arm, or one at each "
    "level of `confirm.by`. If omitted, the arms with `softmax`",
    "factors": "what the question is about: full name to its levels. Required",
    "tuned": "what is tuned in every arm, so that the comparison is fair: full name to a range or a list",
    "design": "which combinations of the levels are run: the name of a design, or `name` and its settings. If omitted, "
    "`search`: all combinations",
    "exclude": "list of combinations of levels that do not run, each as `factor: level`",
    "match": "arms of equal cost: beside every arm that costs more or less than its reference, one that costs the same",
    "search": "how the tuned parameters are searched. Required",
    "early_stopping": "which search trials are stopped early. If omitted, `none` where an arm has fewer than 12 "
    "trials, else `asha`",
    "confirm": "how the winners are trained again with fresh seeds, and the rule of the verdicts",
    "resources": "what one trial gets, and the disk space of the study",
    "budget": "limits for the whole study, over all its launches",
    "tracking": "how MLflow shows the study",
    "paper": "published results for arms of this space (`source`, `setting`, `results`), which the report shows beside "
    "the study's own; no part of the question",
    "cluster": "where `--submit` runs it: the name of a file in `clusters/`, or its content",
}
KEYS = tuple(MEANINGS)
_OTHER_NAMES = {"name": "study", "gpus_per_trial": "resources.gpus_per_trial"}
# What is said of a setting that does not exist, where the names of the others say too little.
_INSTEAD = {
    "confirm.claim": "What verdicts are about follows from confirm.tunings: with 1 the cells that one search found, "
    "with more the arms",
}
_NUMBERED = re.compile(r"(.+)\[(\d+)\]")  # an item of a list: `confirm.budgets[0]`
# What a section holds at least, for the message about one that is only a word.
_FIRST = {"data": "name", "model": "name", "early_stopping": "scheduler", "search": "sampler"}


def hint_for(key: str) -> str:
    """What may be meant by an unknown key at the top level: that of a section, or a section."""
    if (found := full_name(key)) is not None:
        return f"did you mean {found!r}? Known: {', '.join(sorted(KEYS))}"
    return nearest(key, KEYS)


def full_name(key: str) -> str | None:
    """The full name of the setting that people mean by a short one: `training.epochs` for `epochs`."""
    from karat.attention.names import settings_of_all  # which only a message needs
    from karat.models.config import ModelConfig
    from karat.samplers import SearchConfig
    from karat.space.settings import BudgetConfig, ConfirmConfig, ResourceConfig
    from karat.training.config import TrainingConfig

    if key in _OTHER_NAMES:
        return _OTHER_NAMES[key]
    name = written_out(key)
    known: dict[str, Container[str]] = {
        "training": fields_of(TrainingConfig),
        "search": fields_of(SearchConfig),
        "confirm": fields_of(ConfirmConfig),
        "resources": fields_of(ResourceConfig),
        "budget": fields_of(BudgetConfig),
        "model": fields_of(ModelConfig),
        "data": ("image_size", "root", "val_share"),
        "early_stopping": ("scheduler", "grace_epochs", "reduction_factor"),
    }
    for section, names in known.items():
        if name in names:
            return f"{section}.{name}"
    return f"attention.{name}" if name in settings_of_all() else None


def why_no_parameter(key: str, given: Any) -> str:
    """The rule that the name of a factor or range breaks, with the name that may be meant."""
    if key in SECTIONS and isinstance(given, dict) and given:
        return f"must be full names, as {key}.{next(iter(given))}, each in a line of its own"
    name = key.rpartition(".")[2]
    found = full_name(name)
    hint = f"did you mean {found!r}? " if found and found.partition(".")[0] in SECTIONS else ""
    return f"must be section.key, with one of these sections. {hint}Known: {', '.join(SECTIONS)}"


def _paths_within(value: Any, path: Path_) -> Iterator[Path_]:
    """The path of a value, and of every key below it."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _paths_within(each, (*path, key))


class SpaceData:
    """The data of a space's file, in which options such as `--set` may replace values.

    Args:
        document: data of the file.
        file: name of the file, for messages.

    Raises:
        InputError: the file does not contain a mapping.
    """

    def __init__(self, document: Document, file: str) -> None:
        self.file = file
        self.places = {key: f"{file}:{line}" for key, line in document.lines.items()}
        if not isinstance(document.data, dict):
            raise InputError(f"{file}: must contain `key: value` lines. Known: {', '.join(KEYS)}")
        self.data: dict[str, Any] = document.data

    def title(self) -> tuple[str, str, int]:
        """Name of the study, question and seed.

        Raises:
            InputError: one of them is wrong.
        """
        name: Any = self.data.get("study", "")
        if (rule := why_no_name(name)) is not None:
            self.fail(("study",), rule, name)
        question, seed = self.data.get("question", ""), self.data.get("seed", 0)
        if not isinstance(question, str):
            self.fail(("question",), "must be text", question)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            self.fail(("seed",), "must be a whole number, at least 0", seed)
        return name, question, seed

    def place(self, path: Path_) -> str:
        """The source of a value, or of the nearest enclosing value that has one."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, self.file)

    def fail(self, path: Path_, rule: str, value: object = ...) -> NoReturn:
        """Raise an InputError about a value, with its source and the rule."""
        shown = "" if value is ... else f" = {shorten(value)}"
        raise InputError(f"{self.place(path)}: {'.'.join(map(str, path))}{shown}: {rule}")

    def refuse(self, error: SettingError) -> NoReturn:
        """Raise an InputError about a setting, with the source of its section, factor or range."""
        numbered = _NUMBERED.fullmatch(error.key)
        key, item = (numbered[1], (int(numbered[2]),)) if numbered else (error.key, ())
        path: Path_ = (*key.split("."), *item)
        for group in ("factors", "tuned"):
            if (group, key) in self.places:
                path = (group, key)
        raise InputError(f"{self.place(path)}: {error}{self._elsewhere(error)}") from error

    @staticmethod
    def _elsewhere(error: SettingError) -> str:
        """The section or top-level key that has an unknown setting which its own section does not."""
        if not isinstance(error, UnknownKeyError):
            return ""
        if error.key in _INSTEAD:
            return f". {_INSTEAD[error.key]}"
        section, _, name = error.key.rpartition(".")
        found = name if name in KEYS else full_name(name)
        if found is None or found in (error.key, section):
            return ""
        is_this_name = found.rpartition(".")[2] == name
        return f". Elsewhere there is {found}" if is_this_name or not error.is_near else ""

    def known_keys(self, values: Mapping[str, Any], known: tuple[str, ...], path: Path_) -> None:
        """Refuse unknown keys; the message names the nearest known one."""
        for key in values:
            if key not in known:
                if path:
                    self.fail((*path, key), unknown_key(str(key), known).rule)
                self.fail((*path, key), f"unknown key. {hint_for(str(key))}")

    def mapping(self, path: Path_, default: dict[str, Any] | None = None) -> dict[str, Any]:
        """The mapping at a path."""
        value: Any = self.data
        for key in path:
            value = value.get(key, default)
        if value is None:
            self.fail(path, "is missing" if path not in self.places else "must not be empty")
        if not isinstance(value, dict):
            example, key = "", str(path[-1])
            word = "none" if key == "early_stopping" and not value else value
            if len(path) == 1 and key in _FIRST and isinstance(word, str) and in_brackets(word):
                example = f"; write {{{_FIRST[key]}: {word}}}"
            self.fail(path, f"must contain `key: value` lines{example}", value)
        return value

    def assign(self, path: Path_, value: Any, place: str) -> None:
        """Set a value, with `place` as its source, and as that of the sections that it begins."""
        target: Any = self.data
        for depth, key in enumerate(path[:-1], 1):
            if isinstance(target, dict) and key not in target:
                self.places[path[:depth]] = place
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InputError(f"{place}: {key} is a value and has no keys below it")
        target[path[-1]] = value
        self.places = {p: at for p, at in self.places.items() if p[: len(path)] != path}
        self.places |= dict.fromkeys(_paths_within(value, path), place)

    def filled(self, values: Any, path: Path_) -> list[Any]:
        """The list at a path, which must not be empty."""
        if not isinstance(values, list) or not values:
            rule = f"must be a list with at least one value{in_brackets(values)}"
            self.fail(path, rule, values)
        return values

    def number(self, path: Path_, value: Any) -> int | float:
        """The number at a path; refuses text, and true and false."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            advice = advice_on(value, float)
            self.fail(path, f"must be a number{f'; {advice}' if advice else ''}", value)
        return value

    def path_of(self, key: str) -> Path_:
        """The path in the file of a parameter, given its full name."""
        for group in ("factors", "tuned"):
            if key in self.mapping((group,), {}):
                return (group, key)
        return tuple(key.split("."))

    def stands(self, key: str) -> bool:
        """Whether the parameter is in the file."""
        return self.path_of(key) in self.places
