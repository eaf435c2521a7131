"""To be told when a package is imported, without importing it.

As `wrapt.register_post_import_hook` does it, which takes longer to load than a hostile file may
take to be refused.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


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
