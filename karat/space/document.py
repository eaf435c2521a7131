"""The data of a space with the source of every value (file and line, or option) for messages."""

from collections.abc import Mapping
from typing import Any, NoReturn

from karat.errors import InputError, SettingError, nearest, shorten, written_out
from karat.settings import fields_of
from karat.space.space import SECTIONS
from karat.space.yaml_reader import Document, Path_

KEYS = (
    *("study", "question", "seed", *SECTIONS, "reference", "factors", "tuned", "exclude"),
    *("search", "early_stopping", "confirm", "resources", "budget", "tracking", "cluster"),
)


def hint_for(key: str) -> str:
    """What may be meant by an unknown key at the top level: that of a section, or a section."""
    from karat.samplers import SearchConfig  # which only a message needs
    from karat.space.settings import ConfirmConfig, ResourceConfig
    from karat.training.config import TrainingConfig

    classes = (
        ("training", TrainingConfig),
        ("search", SearchConfig),
        ("confirm", ConfirmConfig),
        ("resources", ResourceConfig),
    )
    for section, cls in classes:
        name = written_out(key)
        if name in fields_of(cls):
            return f"did you mean {f'{section}.{name}'!r}? Known: {', '.join(sorted(KEYS))}"
    return nearest(key, KEYS)


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
        path: Path_ = tuple(error.key.split("."))
        for group in ("factors", "tuned"):
            if (group, error.key) in self.places:
                path = (group, error.key)
        raise InputError(f"{self.place(path)}: {error}") from error

    def known_keys(self, values: Mapping[str, Any], known: tuple[str, ...], path: Path_) -> None:
        """Refuse unknown keys; the message names the nearest known one."""
        for key in values:
            if key not in known:
                hint = nearest(key, known) if path else hint_for(str(key))
                self.fail((*path, key), f"unknown key. {hint}")

    def mapping(self, path: Path_, default: dict[str, Any] | None = None) -> dict[str, Any]:
        """The mapping at a path."""
        value: Any = self.data
        for key in path:
            value = value.get(key, default)
        if value is None:
            self.fail(path, "is missing" if path not in self.places else "must not be empty")
        if not isinstance(value, dict):
            self.fail(path, "must contain `key: value` lines", value)
        return value

    def assign(self, path: Path_, value: Any, place: str) -> None:
        """Set a value, with `place` as its source."""
        target: Any = self.data
        for key in path[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InputError(f"{place}: {key} is a value and has no keys below it")
        target[path[-1]] = value
        self.places = {p: at for p, at in self.places.items() if p[: len(path)] != path}
        self.places[path] = place

    def filled(self, values: Any, path: Path_) -> list[Any]:
        """The list at a path, which must not be empty."""
        if not isinstance(values, list) or not values:
            self.fail(path, "must be a list with at least one value", values)
        return values

    def number(self, path: Path_, value: Any) -> int | float:
        """The number at a path; refuses text, and true and false."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fail(path, "must be a number", value)
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
