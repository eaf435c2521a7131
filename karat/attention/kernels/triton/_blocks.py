"""The table of block sizes, `blocks.toml`, and the choice from it."""

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("blocks.toml")
EQUAL, AT_MOST = ("kernel", "dtype", "units"), ("features", "outputs", "width")


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Sizes of blocks and launch options of one kernel; what they mean is in `blocks.toml`."""

    own: int
    other: int
    group: int
    warps: int
    stages: int

    def __post_init__(self) -> None:
        for name in ("own", "other"):
            size = getattr(self, name)
            if size < 16 or size & (size - 1):
                raise ValueError(f"{TABLE}: {name} = {size} must be a power of two, at least 16")
        for name in ("group", "warps", "stages"):
            if getattr(self, name) < 1:
                raise ValueError(f"{TABLE}: {name} = {getattr(self, name)} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a choice depends on."""

    kernel: str
    dtype: str
    units: bool
    features: int
    outputs: int
    width: int


@functools.lru_cache(maxsize=256)
def blocks_for(case: Case) -> Blocks:
    """The sizes for a case.

    Raises:
        ValueError: the table has an entry that means nothing, or none that fits.
    """
    return choose(tables(), case)


@functools.cache
def tables() -> Sequence[Mapping[str, Any]]:
    """The tables of the file, in its order."""
    found: list[dict[str, Any]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["blocks"]
    return found


def choose(among: Sequence[Mapping[str, Any]], case: Case) -> Blocks:
    """The sizes of the first table that fits; see `blocks_for`."""
    sizes = Blocks.__dataclass_fields__.keys()
    for table in among:
        if unknown := set(table) - {*EQUAL, *AT_MOST, *sizes}:
            raise ValueError(f"{TABLE}: {', '.join(sorted(unknown))} means nothing")
        if all(
            table.get(name, getattr(case, name)) == getattr(case, name) for name in EQUAL
        ) and all(getattr(case, name) <= table.get(name, getattr(case, name)) for name in AT_MOST):
            if missing := [name for name in sizes if name not in table]:
                raise ValueError(f"{TABLE}: a table lacks {', '.join(missing)}")
            return Blocks(**{name: table[name] for name in sizes})
    raise ValueError(f"{TABLE}: no table fits {case}")
