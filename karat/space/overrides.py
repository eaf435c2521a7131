"""Quick checks of a launch's input: the YAML file, `--set` assignments and the study's name.

They import nothing heavy, so that a wrong command fails at once. `karat.space.reader`, which
imports torch, checks the settings.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from karat.errors import InputError, meant, shorten
from karat.space.yaml_reader import Document, parse_scalar, read_yaml

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RULE = "must be lower-case letters, digits, - and _, at most 63, not starting with - or _"
_FOLDER = Path("search_spaces")
_RESERVED = {"mlruns"}  # MLflow's folder, beside those of the studies


def read_question(
    path: Path, assignments: Sequence[str], name: str | None
) -> tuple[Document, dict[str, str]]:
    """The file's data, and the `--set` assignments as dotted key to YAML text.

    Args:
        path: the YAML file.
        assignments: `KEY=VALUE`, as typed.
        name: name of the study instead of the file's `study`.

    Raises:
        InputError: what is wrong, and where.
    """
    overrides = _overrides(assignments)
    _refuse_missing(path)
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise InputError(f"{path}: must contain `key: value` lines")
    _check_name(document, path, overrides, name)
    return document, overrides


def study_name(path: Path, assignments: Sequence[str], name: str | None) -> str:
    """The name of the study that `read_question` accepts with these arguments."""
    document, overrides = read_question(path, assignments, name)
    if name is None and "study" in overrides:
        name = parse_scalar(overrides["study"], place_of("study", overrides["study"]))
    return str(document.data["study"] if name is None else name)


def space_path(text: str) -> Path:
    """The file of a search space: as typed, or without its ending or its folder, `search_spaces`."""
    path = Path(text)
    tried = (path, path.with_name(f"{path.name}.yaml"), *_in_folder(path.name))
    return next((each for each in tried if each.is_file()), path)


def _in_folder(name: str) -> tuple[Path, ...]:
    return _FOLDER / name, _FOLDER / f"{name}.yaml"


def _refuse_missing(path: Path) -> None:
    if os.path.lexists(path):
        return
    if re.match(r"(https?|ftp|s3|gs|git):/", str(path)):
        raise InputError(f"{path}: is an address; download the file and name it here")
    near = {each.stem: each for folder in (_FOLDER, path.parent) for each in folder.glob("*.yaml")}
    name = meant(path.stem, near)
    hint = f". Did you mean {near[name]}?" if name is not None else ""
    raise InputError(f"{path}: cannot be read (No such file or directory){hint}")


@contextlib.contextmanager
def placed(
    section: str, document: Document, path: Path, overrides: Mapping[str, str]
) -> Iterator[None]:
    """Name the place of a section in errors of the block, which are about what it asks of a machine.

    Raises:
        InputError: the error, with file and line or the assignment in front.
    """
    place = f"{path}:{document.lines.get((section,), 1)}"
    for key, text in overrides.items():
        if key.partition(".")[0] == section:
            place = place_of(key, text)
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def place_of(key: str, text: str) -> str:
    """The name of an assignment in messages."""
    return f"--set {key}={text if len(text) <= 60 else shorten(text)}"


def _overrides(assignments: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            shown = assignment if len(assignment) <= 60 else shorten(assignment)
            raise InputError(f"--set {shown}: must be KEY=VALUE (training.epochs=3)")
        parse_scalar(text, place_of(key, text))
        overrides[key] = text
    return overrides


def _check_name(
    document: Document, path: Path, overrides: Mapping[str, str], name: str | None
) -> None:
    place, given = f"{path}:{document.lines.get(('study',), 1)}", document.data.get("study")
    if "study" in overrides:
        place = place_of("study", overrides["study"])
        given = parse_scalar(overrides["study"], place)
    if name is not None:
        place, given = "--name", name
    rule = why_no_name(given)
    if rule is not None:
        shown = "" if given is None or given == "" else f" = {shorten(given)}"
        raise InputError(f"{place}: study{shown}: {rule}")


def why_no_name(name: object) -> str | None:
    """The rule that a study's name breaks, as a phrase that follows it; None for a valid name."""
    if isinstance(name, str) and name in _RESERVED:
        return "is the folder of MLflow's files beside the studies; choose another name"
    if isinstance(name, str) and NAME.fullmatch(name):
        return None
    if name is None or name == "":
        return f"is missing; it {_RULE}"
    if isinstance(name, int) and not isinstance(name, bool):
        return f"{_RULE}; write a number in quotes"
    if isinstance(name, str) and (strange := [c for c in name if c.isalnum() and not c.isascii()]):
        # A look-alike, such as a Cyrillic letter, cannot be told apart by its shape.
        return f"{_RULE}; {strange[0]!r} is U+{ord(strange[0]):04X}, not one of a to z or 0 to 9"
    simple = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_") if isinstance(name, str) else ""
    return f"{_RULE}; {simple} would be one" if NAME.fullmatch(simple) else _RULE
