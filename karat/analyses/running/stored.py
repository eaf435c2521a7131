"""Results of analyses as files: numbers and arrays, without code that a reader would have to run."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from karat.analyses.kinds import Analysis
from karat.errors import AnalysisError
from karat.system.files import open_regular, replace_file

A = TypeVar("A", bound=Analysis)
_FIELDS, _ARRAY, _TUPLE = "fields", "array", "tuple"


def save(result: Analysis, path: Path) -> None:
    """Write a result as one `.npz` file, whole or not at all.

    Args:
        result: a dataclass of numbers, text, None, numpy arrays, and tuples and mappings of these.
        path: of the file; its folder is made.

    Raises:
        TypeError: a field holds something else.
        OSError: the file cannot be written.
    """
    arrays: dict[str, Any] = {}
    values = {each.name: getattr(result, each.name) for each in fields(result)}  # type: ignore[arg-type]
    plain = {name: _plain(value, name, arrays) for name, value in values.items()}
    arrays[_FIELDS] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def load(kind: type[A], path: Path) -> A:
    """The result in a file of `save`.

    Raises:
        AnalysisError: the file is missing, damaged, or of another analysis.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            plain = json.loads(arrays[_FIELDS].tobytes())
            return kind(**{name: _read(value, arrays) for name, value in plain.items()})
    # What numpy and zipfile raise for a file that is not theirs, and a dataclass for other fields.
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AnalysisError(f"{path}: is not a result of this analysis ({error})") from error


def _plain(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """As JSON; arrays are put aside, and named in their place."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError(f"{name}: an array of objects cannot be kept")
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return {_TUPLE: [_plain(each, f"{name}.{k}", arrays) for k, each in enumerate(value)]}
    if isinstance(value, Mapping):
        return {
            "mapping": {key: _plain(each, f"{name}.{key}", arrays) for key, each in value.items()}
        }
    raise TypeError(f"{name}: {type(value).__name__} cannot be kept")


def _read(value: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]]
    if _TUPLE in value:
        return tuple(_read(each, arrays) for each in value[_TUPLE])
    return {key: _read(each, arrays) for key, each in value["mapping"].items()}
