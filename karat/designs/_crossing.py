"""What a design is made of: the factors of a space, their conditions, and the levels of the reference."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from karat.errors import SettingError, shorten
from karat.parameters import Factor, Level, Tuned, label_of, level_of, levels_of

Levels = dict[str, Level]  # full name to level, in the order of the file


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The factors of a space.

    Args:
        factors: by full name, in the order of the file, so that a condition names factors above its own.
        fixed: full name to fixed value, of which conditions may depend, too.
        named: the levels in `reference`; empty where the space names none.
    """

    factors: Mapping[str, Factor]
    fixed: Mapping[str, Level] = field(default_factory=dict)
    named: Mapping[str, Level] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: Mapping[str, Any], factors: Mapping[str, Factor], sections: Iterable[str]
    ) -> Self:
        """That of a space.

        Args:
            source: its data; a `reference` that is no mapping counts as none.
            factors: its factors.
            sections: names of those with fixed values.
        """
        given_of = {section: source.get(section) for section in sections}
        fixed = {
            f"{section}.{key}": level_of(value)
            for section, values in given_of.items()
            if isinstance(values, Mapping)  # else refused where the section is read
            for key, value in values.items()
        }
        given = source.get("reference")
        return cls(
            factors=factors,
            fixed=fixed,
            named=levels_of(given) if isinstance(given, Mapping) else {},
        )

    def exists(self, parameter: Factor | Tuned, levels: Mapping[str, Level]) -> bool:
        """Whether the conditions of a parameter hold for these levels."""
        return all(
            levels.get(key, self.fixed.get(key)) in values for key, values in parameter.when.items()
        )

    @property
    def largest(self) -> int:
        """The number of combinations if every factor exists in all of them."""
        return math.prod(len(factor.values) for factor in self.factors.values())

    @property
    def is_crossed(self) -> bool:
        """Whether every factor exists at all levels of the others."""
        return not any(factor.when for factor in self.factors.values())

    def all(self) -> Iterator[Levels]:
        """Every combination of levels, with the factors that exist in it."""

        def extend(rest: list[Factor], levels: Levels) -> Iterator[Levels]:
            if not rest:
                yield levels
            elif self.exists(rest[0], levels):
                for value in rest[0].values:
                    yield from extend(rest[1:], {**levels, rest[0].name: value})
            else:
                yield from extend(rest[1:], levels)

        return extend(list(self.factors.values()), {})

    def folded(self, wanted: Mapping[str, Level]) -> Levels:
        """The combination with these levels: without factors that do not exist in it, and with the first level of
        each other factor that is not named.
        """
        levels: Levels = {}
        for key, factor in self.factors.items():
            if self.exists(factor, levels):
                levels[key] = wanted.get(key, factor.values[0])
        return levels

    @cached_property
    def base(self) -> Levels:
        """The combination of `reference`, with the first level of factors that it does not name."""
        return self.folded(self.named)

    def full_reference(self, design: str, what: str) -> Levels:
        """The combination of `reference`, which must name a level of every factor that exists in it.

        Args:
            design: its name, for messages.
            what: what it does with the reference, as a phrase.

        Raises:
            SettingError: there is no reference, it lacks a factor, or it names one that does not exist in it.
        """
        base = self.base
        if not self.named:
            rule = f"is missing: design {design} {what}; write {written(base)}"
            raise SettingError("reference", rule)
        if lacking := [key for key in base if key not in self.named]:
            rule = f"must name a level of every factor, since design {design} {what}; add {written({k: base[k] for k in lacking})}"
            raise SettingError("reference", rule)
        if idle := [key for key in self.named if key not in base]:
            rule = (
                f"does not exist at these levels of the reference ({label_of(base)}); leave it out"
            )
            raise SettingError(f"reference.{idle[0]}", rule)
        return base


def distinct(combinations: Iterable[Levels]) -> Iterator[Levels]:
    """Each combination once, where it comes first."""
    seen: set[tuple[tuple[str, str], ...]] = set()
    for levels in combinations:
        key = tuple((name, repr(level)) for name, level in levels.items())
        if key not in seen:
            seen.add(key)
            yield levels


def written(levels: Mapping[str, Level]) -> str:
    """Levels as a space writes them, `{key: level}`."""
    pairs = (f"{key}: {v if isinstance(v, str) else shorten(v)}" for key, v in levels.items())
    return f"{{{', '.join(pairs)}}}"
