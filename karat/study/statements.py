"""The description of a study, field by field, as a journal states it and as its space says it is.

What an older version did not write is not compared. The words of the rules that exclude combinations may have
changed since and are not compared; the labels of the combinations are.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from karat.errors import shorten
from karat.samplers import SearchConfig
from karat.settings import fields_of
from karat.space.settings import ConfirmConfig

_YOUNGER = ("recipes", "references")  # which journals of older versions do not have
# Given and not computed, or part of the hash; `karat verify` compares the data with its files.
_NOT_COMPARED = ("uid", "name", "space", "recipes", "data", "weights", "warm_start")
_SETTINGS = {"search": SearchConfig, "confirm": ConfirmConfig}
_SECTIONS = (*_SETTINGS, "early_stopping", "totals")
_COUNTS = ("parameters", "flops")


def differences(
    stated: Mapping[str, Any], expected: Mapping[str, Any], uncounted: Collection[str] = ()
) -> Iterator[str]:
    """What differs, as phrases.

    Args:
        stated: the data of `study_created`, or of an extension merged into it.
        expected: of `karat.study.description`, as plain data of JSON.
        uncounted: labels of the arms whose parameters and operations cannot be compared here.
    """
    for key, value in expected.items():
        if key in _NOT_COMPARED:
            continue
        if key not in stated:
            if key not in _YOUNGER:
                yield from of_value(key, MISSING, value)
        elif key == "references":
            yield from _of_references(stated[key], value)
        elif key == "arms":
            yield from _of_arms(stated[key], value, uncounted)
        elif key == "excluded":
            yield from of_value("excluded combinations", _labels(stated[key]), _labels(value))
        elif key in _SECTIONS:
            yield from _of_section(key, stated[key], value)
        else:
            yield from of_value(key, stated[key], value)


def of_value(name: str, stated: object, expected: object) -> Iterator[str]:
    """A phrase if two values of JSON differ."""
    theirs, ours = _plain(stated), _plain(expected)
    if theirs != ours:
        yield f"{name} recorded {_shown(stated)}, but its space says {_shown(expected)}"


def _of_section(name: str, stated: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """A mapping; a setting that is not in it has its default, since it may be younger than the journal."""
    known = fields_of(_SETTINGS[name]) if name in _SETTINGS else {}
    for key in {**expected, **stated}:
        default = known[key].default if key in known else MISSING
        yield from of_value(f"{name}.{key}", stated.get(key, default), expected.get(key, default))


def _of_references(stated: Sequence[Any], expected: Sequence[Any]) -> Iterator[str]:
    theirs, ours = ([_plain(each["level"]) for each in side] for side in (stated, expected))
    if theirs != ours:
        yield from of_value("levels with a reference", theirs, ours)
        return
    for recorded, each in zip(stated, expected, strict=True):
        level = _shown(each["level"])
        yield from of_value(f"reference of level {level}", recorded["arm"], each["arm"])


def _of_arms(
    stated: Sequence[Any], expected: Sequence[Any], uncounted: Collection[str]
) -> Iterator[str]:
    if _labels(stated) != _labels(expected):
        yield from of_value("arms", _labels(stated), _labels(expected))
        return
    for recorded, arm in zip(stated, expected, strict=True):
        label = arm["label"]
        for key, value in arm.items():
            is_counted = key in recorded and label not in uncounted
            if is_counted or key not in _COUNTS:
                yield from of_value(f"{key} of arm {label}", recorded.get(key, MISSING), value)


def _labels(each: Sequence[Any]) -> list[str]:
    return [one["label"] for one in each]


def _plain(value: object) -> str:
    """As JSON, as in the journal, where tuples and lists are the same."""
    return "" if value is MISSING else json.dumps(value, sort_keys=True)


def _shown(value: object) -> str:
    return "nothing" if value is MISSING else shorten(value, 80)
