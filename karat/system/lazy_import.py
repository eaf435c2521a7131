"""A package that is loaded when it is first used, for commands that may not need it at all.

`importlib.util.LazyLoader` is meant for this, but in Python 3.11 the second `import` of a package
asks for its `__spec__`, which that takes for a use.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any

_ASKED_BY_IMPORT = ("__spec__", "__class__")


class _Unloaded(ModuleType):
    """A package before its code has run, which anything that is looked up in it makes run."""

    def __getattribute__(self, name: str) -> Any:
        spec = super().__getattribute__("__spec__")
        if name in _ASKED_BY_IMPORT:
            return super().__getattribute__(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            spec.loader.exec_module(self)
        except BaseException:
            del sys.modules[spec.name]  # as after any import that failed
            raise
        return getattr(self, name)


def import_lazily(package: str) -> None:
    """Make `import PACKAGE` cost nothing until something in the package is looked up.

    `from PACKAGE import NAME` looks up. One thread at a time: another would find half of it.
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None:  # as whoever imports it will say
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _Unloaded
    sys.modules[package] = module


def load(package: str) -> None:
    """Load it now, before there are several threads."""
    getattr(importlib.import_module(package), "__file__", None)
