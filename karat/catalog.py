"""A folder of plug-ins as a mapping from file name to class.

A plug-in file defines exactly one public subclass of the base class of its family. It is imported
when its name is looked up, so that a heavy package is loaded only if it is used. A plug-in of
several files is a folder; the module with the class has the same name in every folder.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from karat.errors import PluginError, SettingError, nearest

T = TypeVar("T")


class Catalog(Mapping[str, type[T]]):
    """The plug-ins of one family by name.

    Args:
        base: base class of the family, defined in the `__init__.py` of its package; the plug-ins
            are in the folders of that package's `__path__`.
        key: name of the setting that selects a plug-in of this family, for error messages.
        inside: for a family whose plug-ins are folders, the name of the module with the class.
    """

    def __init__(self, base: type[T], key: str, inside: str | None = None) -> None:
        self._base, self._key, self._inside = base, key, inside
        self._known: dict[str, type[T]] = {}

    @property
    def _places(self) -> Mapping[str, list[Path]]:
        """Name to the files or folders with that name; more than one is an error."""
        # Looked up each time, since a test may add a folder to `__path__`.
        folders = sys.modules[self._base.__module__].__path__
        return _places_in(tuple(folders), self._inside)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, name: str) -> type[T]:
        """The plug-in of that name.

        Raises:
            SettingError: the name is unknown; the message lists the known ones and the nearest.
            PluginError: its file does not define one class of the family, or two files have the
                name.
            Exception: the import of its file failed; the error of the file is not changed.
        """
        if name not in self._known:
            self._known[name] = self._load(name)
        return self._known[name]

    def _load(self, name: str) -> type[T]:
        if name not in self._places:
            raise SettingError(self._key, f"unknown. {nearest(name, self._places)}", name)
        first, *others = self._places[name]
        if others:
            raise PluginError(f"{first} and {others[0]} have the same name, {name}: rename one")
        parts = (self._base.__module__, name, *([self._inside] if self._inside else []))
        module = importlib.import_module(".".join(parts))
        found = [
            member
            for member in vars(module).values()
            if inspect.isclass(member)
            and issubclass(member, self._base)
            and member.__module__ == module.__name__
            and not member.__name__.startswith("_")
        ]
        if len(found) != 1:
            classes = ", ".join(each.__name__ for each in found) or "none"
            raise PluginError(
                f"{module.__file__}: must define one public subclass of {self._base.__name__}, "
                f"but defines {classes}"
            )
        plugin: type[T] = found[0]
        return plugin

    def __contains__(self, name: object) -> bool:
        return name in self._places


@functools.cache
def _places_in(folders: tuple[str, ...], inside: str | None) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder in filter(Path.is_dir, map(Path, folders)):
        for path in sorted(folder.iterdir(), reverse=True):  # NAME.py before the folder NAME
            if _is_plugin(path, inside):
                found.setdefault(path.stem, []).append(path)
    return dict(sorted(found.items()))


def _is_plugin(path: Path, inside: str | None) -> bool:
    if path.name.startswith("_") or not path.stem.isidentifier():
        return False
    if inside is not None:
        return (path / f"{inside}.py").is_file()
    return path.suffix == ".py" or (path / "__init__.py").is_file()
