"""A strict YAML reader: plain data, with the line number of every key.

Differences to PyYAML's safe loader: duplicate keys, aliases, tags and merge keys are refused;
`1e-4` is a number; only `true` and `false` are truth values (`no` is text). PyYAML needs about 20
microseconds per value, so the limits also bound the time for a hostile file.
"""

import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from karat.errors import InputError, shorten
from karat.space.yaml_errors import place_and_rule

Path_ = tuple[str | int, ...]
MAX_BYTES = 32 * 1024
MAX_DEPTH = 12
MAX_VALUES = 2000
MAX_KEY = 100
MAX_DIGITS = 64
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Document(NamedTuple):
    """The data of a YAML file, and the line (from 1) of every key and list item by its path."""

    data: Any
    lines: dict[Path_, int]


class _TooDeepError(yaml.MarkedYAMLError):
    """Brackets are nested deeper than `MAX_DEPTH`."""


class _Loader(yaml.SafeLoader):
    """Resolves null, truth values and numbers as YAML 1.2 does; everything else is text."""

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:
        # In the scanner and not by event: an open bracket may begin a key for the next 1024
        # characters, and PyYAML checks all open brackets at every token before it emits an event.
        if self.flow_level >= MAX_DEPTH:
            raise _TooDeepError(problem_mark=self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


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
    raw = _read(path)
    if len(raw) > MAX_BYTES:  # `parse_yaml` counts characters, which may have several bytes
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes, the limit of a search space")
    try:
        return parse_yaml(raw.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            # O_NONBLOCK: if a pipe has replaced the file since, opening it must not block.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    kind = "folder" if stat.S_ISDIR(mode) else "pipe or a device"
    raise InputError(f"{path}: is a {kind}, not a YAML file")


def parse_yaml(text: str, name: str) -> Document:
    """The data of a YAML text; `name` stands before the line number in messages.

    Raises:
        InputError: the text breaks a rule.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{name}: larger than {MAX_BYTES} bytes, the limit of a search space")
    lines: dict[Path_, int] = {}
    try:
        _refuse_bombs(text, name)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, lines)
        return Document(_construct(loader, node, (), lines, name), lines)
    except _TooDeepError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{name}:{line}: nested deeper than {MAX_DEPTH} levels") from None
    except yaml.MarkedYAMLError as error:
        line, rule = place_and_rule(error, text)
        raise InputError(f"{name}:{line}: {rule}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise InputError(f"{name}: nested deeper than {MAX_DEPTH} levels") from None


def parse_scalar(text: str, name: str) -> Any:
    """The value of a `--set key=value`, read as YAML.

    Raises:
        InputError: the text breaks a rule.
    """
    try:
        return parse_yaml(text, name).data
    except InputError as error:  # a single line needs no number
        raise InputError(str(error).replace(f"{name}:1: ", f"{name}: ", 1)) from error


def _refuse_bombs(text: str, name: str) -> None:
    """Check a text as a stream of events, which costs little, before objects are built from it."""
    depth = values = documents = 0
    for event in _events(text):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        values += isinstance(event, yaml.NodeEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        rule = _broken_rule(event, depth, values, documents)
        if rule is not None:
            raise InputError(f"{name}:{_line(event)}: {rule}")


def _broken_rule(event: yaml.Event, depth: int, values: int, documents: int) -> str | None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases (& and *) are not allowed"
    if (tag := getattr(event, "tag", None)) is not None:
        return f"the tag {shorten(tag)} is not allowed"
    if depth > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH} levels"
    if values > MAX_VALUES:
        return f"more than {MAX_VALUES} keys and values"
    if documents > 1:
        return "a second document begins (---); keep one"
    return None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_Loader)


def _construct(
    loader: _Loader, node: yaml.Node, path: Path_, lines: dict[Path_, int], name: str
) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
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
        if (rule := _wrong_key(key) or _no_pair(key_node, value_node)) is not None:
            raise InputError(f"{name}:{line}: {rule}")
        if key in result:
            raise InputError(f"{name}:{line}: {key!r} is given twice; keep one")
        lines[(*path, key)] = line
        result[key] = _construct(loader, value_node, (*path, key), lines, name)
    return result


def _no_pair(key: yaml.Node, value: yaml.Node) -> str | None:
    """Why a key without a value was meant as both: `epochs:4`, `epochs = 4`."""
    is_empty = isinstance(value, yaml.ScalarNode) and value.value == "" and value.style is None
    found = re.fullmatch(r"([\w.]+)\s*[:=]\s*(\S.*)", str(key.value))
    if found and is_empty and getattr(key, "style", None) is None:
        return f"{shorten(key.value)}: must be `{found[1]}: {found[2]}`, a colon and a space"
    return None


def _wrong_key(key: object) -> str | None:
    if not isinstance(key, str):
        return "a key must be text"
    if key == "<<":
        return "merge keys (<<) are not allowed"
    if len(key) > MAX_KEY or not key.isprintable():
        return f"{shorten(key)}: a key must be printable, with at most {MAX_KEY} characters"
    return None


def _scalar(loader: _Loader, node: yaml.Node, name: str) -> Any:
    where = f"{name}:{node.start_mark.line + 1}"
    is_number = node.tag.endswith((":int", ":float"))
    if is_number and len(node.value) > MAX_DIGITS:
        raise InputError(
            f"{where}: {shorten(node.value)}: a number of more than {MAX_DIGITS} digits"
        )
    if _CONTROL.search(node.value):
        raise InputError(f"{where}: {shorten(node.value)}: control characters are not allowed")
    if node.tag.endswith(":int"):  # PyYAML follows YAML 1.1 and reads 010 as octal 8
        return int(node.value)
    value = loader.construct_object(node)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {node.value}: numbers must be finite")
    return value
