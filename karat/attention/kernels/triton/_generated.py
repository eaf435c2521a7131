"""The functions of a basis as functions of Triton, made from its formula when they are first used.

Triton reads the source of a function. That of a generated one is in `linecache`, as that of
dataclasses and doctests is, so that nothing is written and no folder of code has to be trusted.
"""

import functools
import hashlib
import json
import linecache
from typing import Any

from karat.attention.formulas import program_of
from karat.attention.formulas.in_triton import (
    features_source,
    slopes_source,
    unit_parts_source,
    unit_slope_source,
    unit_source,
    without_slope,
)
from karat.attention.kernels.triton import _elementary


class Functions:
    """What kernels call for the scores of a tile; see `karat.attention.formulas.in_triton`.

    Args:
        spec: `Units.spec`.
        has_scale: whether the units have a scale.

    Attributes:
        features: F, the base activation included.
        flat: how many of the first features have no slope.
        kept: how many numbers are prepared for each unit; 0 if there are features alone.
        parts: how many of these get a gradient.
    """

    def __init__(self, spec: str, has_scale: bool) -> None:
        program = program_of(spec, has_scale)
        assert program is not None, spec
        self._name: str = json.loads(spec)[0]
        self._shared, self._unit = program.shared, program.unit
        self.features = len(program.shared.terms) if program.shared else 0
        self.flat = without_slope(program.shared) if program.shared else 0
        self.kept = len(program.unit.prepared) if program.unit else 0
        self.parts = len(program.unit.parts) if program.unit else 0

    def of(self, name: str, group: int = 0) -> Any:
        """The function of that name; None if the basis has none.

        Args:
            group: the size of groups, for a function with a `number`.

        Raises:
            ValueError: the formula has an operation without a form in Triton.
        """
        source = self._source(name, group)
        return None if source is None else _made(self._name, name, source)

    def _source(self, name: str, group: int) -> str | None:
        if self._shared and name == "features":
            return features_source(self._shared, group)
        if self._shared and name == "slopes" and self.flat < self.features:
            return slopes_source(self._shared, group)
        if self._unit and name == "unit":
            return unit_source(self._unit)
        if self._unit and name == "unit_slope":
            return unit_slope_source(self._unit)
        if self._unit and name == "unit_parts":
            return unit_parts_source(self._unit, group)
        return None


@functools.lru_cache(maxsize=256)
def functions_of(spec: str, has_scale: bool) -> Functions:
    """The functions for a `Units.spec`; arguments as for the class."""
    return Functions(spec, has_scale)


@functools.lru_cache(maxsize=1024)
def _made(basis: str, name: str, source: str) -> Any:
    # The name of a module is part of the key under which Triton stores what it has compiled.
    module = f"karat_triton_{basis}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    file = f"<{module}>"
    # Without a time of change, so that nobody looks for the file.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    known = {key: each for key, each in vars(_elementary).items() if not key.startswith("_")}
    names: dict[str, Any] = {**known, "__name__": module}
    exec(compile(source, file, "exec"), names)
    return names[name]
