"""Builds frozen dataclasses from mappings; refuses unknown keys, missing keys and wrong types.

A settings class is a frozen, keyword-only dataclass in the module of the code that uses it. This
module checks types. The class checks ranges in `__post_init__`, which raises `SettingError` with the
name of the field; `build` adds the section to the name.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar, Union

from karat.advice import advice_on, in_brackets
from karat.errors import SettingError, UnknownKeyError, meant, nearest

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], section: str) -> T:
    """An instance of the settings class `cls` with `values`.

    Args:
        cls: a frozen dataclass whose fields are annotated with int, float, bool, str, None,
            Literal, tuple[X, ...], a mapping, another settings class, or unions of these. The
            metadata `missing` of a field says what is wrong without it.
        values: field name to value, as read from YAML.
        section: prefix of field names in error messages (`training`).

    Raises:
        SettingError: a key is unknown or missing, a type is wrong, or `cls` refuses a value.
    """
    known = fields_of(cls)
    for key in values:
        if key not in known:
            raise unknown_key(f"{section}.{key}", known)
    hints = hints_of(cls)
    checked = {key: convert(hints[key], value, f"{section}.{key}") for key, value in values.items()}
    for key, field in known.items():
        required = field.default is dataclasses.MISSING
        if required and field.default_factory is dataclasses.MISSING and key not in checked:
            raise SettingError(f"{section}.{key}", field.metadata.get("missing", "is missing"))
    try:
        return cls(**checked)
    except SettingError as error:
        raise SettingError(f"{section}.{error.key}", error.rule, error.value) from None


def unknown_key(key: str, known: Collection[str]) -> UnknownKeyError:
    """The error about a setting, given its dotted name, that is none of the known ones."""
    name = key.rpartition(".")[2]
    if name.isdecimal():
        return UnknownKeyError(key, "A decimal number has a point: 0.005 and not 0,005", True)
    return UnknownKeyError(key, nearest(name, known), meant(name, known) is not None)


def hints_of(cls: Any) -> dict[str, Any]:
    """The type of each setting, by name."""
    return _hints(cls)


def values_of(settings: Any) -> dict[str, Any]:
    """The value of each setting, by name."""
    return {name: getattr(settings, name) for name in fields_of(type(settings))}


def defaults_of(cls: Any) -> dict[str, Any]:
    """The default of each setting that has one, by name."""
    given = {name: field.default for name, field in fields_of(cls).items()}
    return {name: value for name, value in given.items() if value is not dataclasses.MISSING}


# Cached, since a search space builds thousands of configurations; `functools.cache` hides the types
# of a function, so it decorates a private one.
_hints = functools.cache(typing.get_type_hints)


def fields_of(cls: Any) -> Mapping[str, "dataclasses.Field[Any]"]:
    """The fields of a settings class, by name."""
    return _fields(cls)


@functools.cache
def _fields(cls: Any) -> Mapping[str, "dataclasses.Field[Any]"]:
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def convert(hint: Any, value: Any, key: str) -> Any:
    """`value` converted to the annotation `hint`: a list becomes a tuple, an integer a float.

    Raises:
        SettingError: the value has another type.
    """
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        # Python has True == 1, so that `in` alone would accept true for a choice of 1.
        if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
            raise SettingError(key, f"must be one of these. {nearest(value, choices)}", value)
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, key)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if value is None:
            raise SettingError(key, "is empty; it must be a list")
        if not isinstance(value, (list, tuple)):
            raise SettingError(key, f"must be a list{in_brackets(value, item)}", value)
        return tuple(convert(item, entry, f"{key}[{i}]") for i, entry in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise SettingError(key, "must be a mapping (key: value)", value)
        return value
    if dataclasses.is_dataclass(hint) and not isinstance(value, typing.cast(type, hint)):
        if not isinstance(value, Mapping):
            names = ", ".join(f"{name}: ..." for name in fields_of(hint))
            raise SettingError(key, f"must be a mapping, as in {{{names}}}", value)
        return build(typing.cast(type, hint), value, key)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is type(None) and value is None:
        return None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong_type(hint, value, key)
    return value


def _wrong_type(hint: type, value: Any, key: str) -> SettingError:
    rule = f"must be {_article(hint)}"
    if value is None:
        return SettingError(key, f"is empty; it {rule}")
    advice = advice_on(value, hint)
    return SettingError(key, f"{rule}; {advice}" if advice else rule, value)


def _convert_union(hint: Any, value: Any, key: str) -> Any:
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    can_be_omitted = len(options) < len(typing.get_args(hint))
    if value is None and can_be_omitted:
        return None
    problems = []
    for option in options:
        try:
            return convert(option, value, key)
        except SettingError as error:
            problems.append(error)
    if isinstance(value, list | tuple):  # the problem of an item, if a list is possible
        problems = [each for each in problems if each.key != key] or problems
        raise problems[0]
    # Choices come last, since their rule ends with all of them.
    *others, last = sorted(problems, key=lambda error: error.rule.startswith("must be one of"))
    if value is False and can_be_omitted and dataclasses.is_dataclass(options[0]):
        raise SettingError(key, f"{last.rule}; for none omit it", value)
    if not others or "must be " not in others[0].rule:
        raise last
    empty = "is empty; it "
    first = others[0].rule.removeprefix(empty).partition(";")[0]
    rule = f"{first}, or {last.rule.removeprefix('must be ')}"
    if value is None:
        raise SettingError(key, empty + rule)
    raise SettingError(key, rule, value)


def _article(hint: type) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint, hint.__name__)


def at_least(key: str, value: float | None, least: float) -> None:
    """Refuse a value below `least` (None passes)."""
    if value is not None and not value >= least:
        raise SettingError(key, f"must be at least {least:g}", value)


def at_most(key: str, value: float | None, most: float) -> None:
    """Refuse a value above `most` (None passes)."""
    if value is not None and not value <= most:
        raise SettingError(key, f"must be at most {most:g}", value)


def above(key: str, value: float | None, bound: float) -> None:
    """Refuse a value that is not above `bound` (None passes)."""
    if value is not None and not value > bound:
        raise SettingError(key, f"must be greater than {bound:g}", value)


def below(key: str, value: float | None, bound: float) -> None:
    """Refuse a value that is not below `bound` (None passes)."""
    if value is not None and not value < bound:
        raise SettingError(key, f"must be less than {bound:g}", value)


def fraction(key: str, value: float) -> None:
    """Refuse a value that is not between 0 and 1; one that may be in percent is told its share."""
    if not 0 < value < 1:
        percent = f"; {value:g} % are {value / 100:g}" if 1 <= value < 100 else ""
        raise SettingError(key, f"must be greater than 0 and less than 1{percent}", value)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
