"""A folder of plug-ins as a mapping: the file's name is the plug-in's name.

A plug-in file holds exactly one public subclass of its family's base class. Files are
imported only when they are named, so heavy packages load only where they are used.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from karat.errors import PluginError, SettingError, nearest

T = TypeVar("T")


class Catalog(Mapping[str, type[T]]):
    """The plug-ins of one family by name.

    Args:
        base: the family's base class, defined in the `__init__.py` of the family's package.
        key: the setting that names a member of this family, for error messages.
    """

    def __init__(self, base: type[T], key: str) -> None:
        self._base, self._key = base, key
        self._folder = folder = Path(inspect.getfile(base)).parent
        self._names = sorted(
            module.name
            for module in pkgutil.iter_modules([str(folder)])
            if not module.name.startswith("_")
        )
        self._known: dict[str, type[T]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> type[T]:
        """The plug-in of that name.

        Raises:
            SettingError: no such name; the message lists the known ones, the nearest first.
            PluginError: its file does not hold one class of the family, or is there twice.
            Exception: whatever its file raises while it is imported.
        """
        if name not in self._known:
            self._known[name] = self._load(name)
        return self._known[name]

    def _load(self, name: str) -> type[T]:
        if name not in self._names:
            raise SettingError(self._key, f"unknown. {nearest(name, self._names)}", name)
        file, folder = self._folder / f"{name}.py", self._folder / name
        if file.exists() and (folder / "__init__.py").exists():
            raise PluginError(f"{file} and {folder} are both called {name}: rename one")
        module = importlib.import_module(f"{self._base.__module__}.{name}")
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
                f"and defines {classes}"
            )
        plugin: type[T] = found[0]
        return plugin

    def __contains__(self, name: object) -> bool:
        return name in self._names
