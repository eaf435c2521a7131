"""Code that is loaded when it is first used: packages of ours, packages of others, and hooks into those.

For a package that is not ours `importlib.util.LazyLoader` is meant, but in Python 3.11 the second
`import` of a package asks for its `__spec__`, which that takes for a use. To be told of an import is
what `wrapt.register_post_import_hook` does; it takes longer to load than all that a file which is
refused needs.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ASKED_BY_IMPORT = ("__spec__", "__class__")


def exports(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that loads each of its public names when it is first used.

    Args:
        package: its name.
        names: public name to the module of the package that defines it. No name may be a module's
            too: once loaded, the module would stand in its place.
    """

    def get(name: str) -> Any:
        if name not in names:
            known = ", ".join(sorted(names))
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {known}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return get


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


def call_after_import(package: str, call: Callable[[ModuleType], None]) -> None:
    """Call once with the package, after its import or, if it has been imported, at once."""
    if package in sys.modules:
        call(sys.modules[package])
    else:
        sys.meta_path.insert(0, _Finder(package, call))


class _Finder:
    """Finds one package as the finders after it do, and calls after its code has run."""

    def __init__(self, package: str, call: Callable[[ModuleType], None]) -> None:
        self.package, self.call = package, call

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.package:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
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
