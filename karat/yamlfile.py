"""Strict YAML: plain data with a line number for every key, and nothing that surprises.

Departures from PyYAML's safe loader: duplicate keys, aliases, tags and merge keys are refused;
`1e-4` is a number; only `true` and `false` are truth values (`no` is text).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from karat.errors import InputError, shorten

Path_ = tuple[str | int, ...]
MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
_KEPT_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a YAML file, and the line (from 1) of every key and list item by its path."""

    data: Any
    lines: dict[Path_, int]


class _Loader(yaml.SafeLoader):
    """Resolves scalars as YAML 1.2 does, and counts nothing else as special."""


_Loader.yaml_implicit_resolvers = {}
_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(f"(?:{_pattern})$"),
        [*_first, *([""] if _tag == "null" else [])],
    )


def read_yaml(path: Path) -> Document:
    """The data of a YAML file.

    Raises:
        InputError: the file is missing, too large, or breaks a rule; with file and line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a YAML file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes, which no space should be")
    try:
        return parse_yaml(raw.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def parse_yaml(text: str, name: str) -> Document:
    """The data of a YAML text; `name` stands before the line number in messages.

    Raises:
        InputError: the text breaks a rule.
    """
    loader = _Loader(text)
    lines: dict[Path_, int] = {}
    try:
        _refuse_aliases(text, name)
        node = loader.get_single_node()
        if node is None:
            return Document(None, lines)
        return Document(_construct(loader, node, (), lines, name), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise InputError(f"{where}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise InputError(f"{name}: nested deeper than {MAX_DEPTH} levels") from None
    finally:
        loader.dispose()


def parse_scalar(text: str, name: str) -> Any:
    """The value of a `--set key=value`, read as YAML.

    Raises:
        InputError: the text breaks a rule.
    """
    return parse_yaml(text, name).data


def _refuse_aliases(text: str, name: str) -> None:
    depth = 0
    for event in _events(text):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InputError(
                f"{name}:{_line(event)}: anchors and aliases (& and *) are not allowed"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise InputError(f"{name}:{_line(event)}: nested deeper than {MAX_DEPTH} levels")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_Loader)


def _construct(
    loader: _Loader, node: yaml.Node, path: Path_, lines: dict[Path_, int], name: str
) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _KEPT_TAGS:
        raise InputError(f"{name}:{line}: the tag {node.tag!r} is not allowed")
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(loader, item, (*path, index), lines, name)
            for index, item in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node, name)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if not isinstance(key, str):
            raise InputError(f"{name}:{line}: a key must be text")
        if key in result:
            raise InputError(f"{name}:{line}: {key!r} stands here a second time; keep one")
        lines[(*path, key)] = line
        result[key] = _construct(loader, value_node, (*path, key), lines, name)
    return result


def _scalar(loader: _Loader, node: yaml.Node, name: str) -> Any:
    where = f"{name}:{node.start_mark.line + 1}"
    try:
        if node.tag.endswith(":int"):  # PyYAML would read 010 as 8
            return int(node.value)
        value = loader.construct_object(node)
    except ValueError as error:
        raise InputError(f"{where}: {shorten(node.value)} is not a number ({error})") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {node.value}: numbers must be finite")
    return value
