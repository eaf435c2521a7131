"""The levels of a factor: a scalar each, or a list of scalars.

YAML and JSON hold a list; inside it is a tuple, which can be a key, and which is the same before
the journal and after it.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from karat.errors import nearest

Scalar = str | int | float | bool
Level = Scalar | tuple[Scalar, ...]


def level_of(value: Any) -> Any:
    """A level as YAML or JSON gave it: a list becomes a tuple, everything else stays."""
    return tuple(value) if isinstance(value, list) else value


def levels_of(values: Mapping[str, Any]) -> dict[str, Level]:
    """The levels of an arm as JSON gave them, full name to level."""
    return {key: level_of(value) for key, value in values.items()}


def plain(level: Level) -> Any:
    """A level as YAML and JSON hold it, for configurations and messages."""
    return list(level) if isinstance(level, tuple) else level


def level_text(level: Level) -> str:
    """A level in a label: `5`, `early`, `0,1,3`."""
    return ",".join(map(str, level)) if isinstance(level, tuple) else str(level)


def label_of(levels: Mapping[str, Level], spelled: Set[str] = frozenset()) -> str:
    """A short label: text as it is, numbers, truth values, lists and `spelled` keys with their key."""
    return " ".join(
        value
        if isinstance(value, str) and key not in spelled
        else f"{key.rpartition('.')[2]}={level_text(value)}"
        for key, value in levels.items()
    )


def nearest_level(level: Level, known: Sequence[Level]) -> str:
    """`nearest`, for levels."""
    return nearest(plain(level), map(plain, known))


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
