"""Imports that are delayed until first use, and hooks that run after the import of a package.

Why not the existing tools: `importlib.util.LazyLoader` loads a package at its second `import`
statement, since Python 3.11 looks up `__spec__` there and the loader counts that as a use.
`wrapt.register_post_import_hook` takes longer to import than karat needs to refuse a wrong YAML file.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ASKED_BY_IMPORT = ("__spec__", "__class__")


def exports(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that loads each of its public names at first use.

    Args:
        package: name of the package.
        names: public name to the module of the package that defines it. A public name must not be
            the name of a module in the package: the import system sets a loaded module as an
            attribute of its package, so the module would replace it.
    """

    def get(name: str) -> Any:
        if name not in names:
            known = ", ".join(sorted(names))
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {known}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return get


class _Unloaded(ModuleType):
    """A package whose code has not run yet; it runs at the first look-up of an attribute."""

    def __getattribute__(self, name: str) -> Any:
        spec = super().__getattribute__("__spec__")
        if name in _ASKED_BY_IMPORT:
            return super().__getattribute__(name)
        # First, since the package's code looks up its own attributes while it runs.
        self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            spec.loader.exec_module(self)
        except BaseException:
            del sys.modules[spec.name]  # as Python does after a failed import
            raise
        return getattr(self, name)


def import_lazily(package: str) -> None:
    """Delay the work of `import PACKAGE` until the first look-up of an attribute of the package.

    `from PACKAGE import NAME` is a look-up. Not thread-safe: a second thread would see a package
    that is only half loaded. Call `load` before other threads start.
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None:  # the import statement itself will raise the usual error
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _Unloaded
    sys.modules[package] = module
    sys.meta_path.insert(0, _Loaded(package))


class _Loaded:
    """Finds submodules of a package that are loaded already.

    `import PACKAGE.MODULE` looks up the path of PACKAGE, which loads it if it was not, and MODULE often
    with it. Python then executes MODULE a second time, which an extension module does not survive.
    """

    def __init__(self, package: str) -> None:
        self._prefix = f"{package}."

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(self._prefix) or target is not None or name not in sys.modules:
            return None
        return ModuleSpec(name, _Existing(sys.modules[name]))


class _Existing(Loader):
    """Loader of a module that is loaded already: does nothing."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has set its own


def load(package: str) -> None:
    """Load a package that was imported lazily, before other threads start."""
    getattr(importlib.import_module(package), "__file__", None)


def call_after_import(package: str, call: Callable[[ModuleType], None]) -> None:
    """Call `call` with the package: now if it is already imported, otherwise after its import."""
    if package in sys.modules:
        call(sys.modules[package])
    else:
        sys.meta_path.insert(0, _Finder(package, call))


class _Finder:
    """Finds one package through the finders after it, and calls `call` after its code has run."""

    def __init__(self, package: str, call: Callable[[ModuleType], None]) -> None:
        self.package, self.call = package, call

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.package:
            return None
        # Not all others: a second hook for the same package would ask this one, and so on without end.
        after = sys.meta_path[sys.meta_path.index(self) + 1 :]
        found = (finder.find_spec(name, path, target) for finder in after)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            self._call_after(spec.loader)
        return spec

    def _call_after(self, loader: object) -> None:
        run: Callable[[ModuleType], None] = loader.exec_module  # type: ignore[attr-defined]

        def run_and_call(module: ModuleType) -> None:
            run(module)
            self.call(module)

        loader.exec_module = run_and_call  # type: ignore[attr-defined]
