"""Parameters of a search space: factors with their levels, and tuned parameters.

A level is a scalar or a list of scalars. Inside karat a list is a tuple, which can be a dictionary
key; YAML and JSON contain lists.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from karat.errors import nearest

Scalar = str | int | float | bool
Level = Scalar | tuple[Scalar, ...]


def level_of(value: Any) -> Any:
    """A level from YAML or JSON: a list becomes a tuple, other values stay."""
    return tuple(value) if isinstance(value, list) else value


def levels_of(values: Mapping[str, Any]) -> dict[str, Level]:
    """The levels of an arm from JSON: full name to level."""
    return {key: level_of(value) for key, value in values.items()}


def plain(level: Level) -> Any:
    """A level for YAML, JSON, configurations and messages: a tuple becomes a list."""
    return list(level) if isinstance(level, tuple) else level


def is_number(value: Any) -> bool:
    """Whether a level is a number, so that levels have an order; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_scalar(value: object) -> bool:
    """Whether a value is text, a number, true or false."""
    return isinstance(value, str | int | float)


_SAME_SIZE = {
    f"model.{key}" for key in ("pos_embed_std", "weight_init", "init_from", "attention_from")
} | {"attention.init", "attention.kernel"}


def changes_size(name: str) -> bool:
    """Whether a parameter, given its full name, may change how many parameters and operations a model has."""
    section = name.partition(".")[0]
    return section in ("data", "model", "attention") and name not in _SAME_SIZE


DATA_SETS = ("data.name", "data.root")
"""Factors that say on which images an arm is tested: values on different ones do not compare."""


def places_in(factors: Iterable[str]) -> frozenset[str]:
    """The factors, by their full names, that say where arms are compared: on which data set, or in which model.

    Where one names the data set, all others of `data` belong to it, such as the size of its images.
    """
    known = frozenset(factors)
    of_data = {key for key in known if key.startswith("data.")} if known & {*DATA_SETS} else set()
    return known & {*of_data, "model.name"}


EACH_ARM = "arm"  # as `confirm.by`: every arm is confirmed for itself


def level_in(by: str, label: str, factors: Mapping[str, Any]) -> Any:
    """What an arm is confirmed as: its level of the factor `by`, or itself; None if it has no such level."""
    return label if by == EACH_ARM else factors.get(by)


def level_label(by: str, level: Level) -> str:
    """What the arms of one level of the factor `by` are called together."""
    return str(level) if by == EACH_ARM else f"{by.rpartition('.')[2]}={level_text(level)}"


def contest_label(label: str, tuning: int | None) -> str:
    """What a level or a reference is called in one tuning, from 0; None if there is one alone."""
    return label if tuning is None else f"{label} (tuning {tuning + 1})"


def level_text(level: Level) -> str:
    """A level as text for a label: `5`, `early`, `0,1,3`."""
    return ",".join(map(str, level)) if isinstance(level, tuple) else str(level)


def label_of(levels: Mapping[str, Level], spelled: Set[str] = frozenset()) -> str:
    """A short label of a combination of levels.

    Text levels appear alone; numbers, truth values, lists and the keys in `spelled` with their key.
    """
    return " ".join(
        value
        if isinstance(value, str) and key not in spelled
        else f"{key.rpartition('.')[2]}={level_text(value)}"
        for key, value in levels.items()
    )


def nearest_level(level: Level, known: Sequence[Level]) -> str:
    """`karat.errors.nearest` for levels."""
    return nearest(plain(level), map(plain, known))


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A parameter that the question is about.

    Args:
        name: full name.
        values: levels, each text, a number, a truth value or a list of these.
        when: other parameters to the values for which this one exists; empty for always.
    """

    name: str
    values: tuple[Level, ...]
    when: Mapping[str, tuple[Level, ...]]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A parameter that is tuned in every arm: a range, or a list of values.

    Args:
        name: full name.
        values: distinct values to choose from, or None for a range.
        low: lower end of the range, included; above 0 if `log`. Two whole numbers search whole numbers.
        high: upper end of the range, included.
        log: whether the range is searched on a logarithmic scale.
        when: other parameters to the values for which this one exists; empty for always.
    """

    name: str
    values: tuple[Scalar, ...] | None
    low: float | None
    high: float | None
    log: bool
    when: Mapping[str, tuple[Level, ...]]

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values at which it is checked: all values, or the ends of the range."""
        if self.values is not None:
            return self.values
        assert self.low is not None
        assert self.high is not None
        return (self.low, self.high)
