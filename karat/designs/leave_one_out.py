"""A full recipe, and that recipe without each one of its ingredients."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from karat.designs import Crossing, Design, Levels, distinct
from karat.errors import SettingError, nearest, shorten
from karat.parameters import Factor, Level, level_of, nearest_level, plain

OFF: tuple[Level, ...] = (False, "none", "off")


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(Design):
    """The reference is a full recipe; each arm is that recipe with one factor at its `off` level. Every arm is tuned
    equally and confirmed.

    Args:
        off: full name of a factor to its level without the ingredient. A factor that is not named has one if one of
            its levels is `false`, `none`, `off` or 0.
    """

    off: Mapping[str, Level] | None = None

    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        full = self.reference(crossing)
        off = {key: self._off(factor, full) for key, factor in crossing.factors.items()}
        for key, factor in crossing.factors.items():
            if idle := [value for value in factor.values if value not in (full[key], off[key])]:
                rule = (
                    f"design leave_one_out runs only the level of the full recipe, {_shown(full[key])}, and that without it, "
                    f"{_shown(off[key])}; leave out {', '.join(map(_shown, idle))}"
                )
                raise SettingError(key, rule)
        return distinct([full, *(crossing.folded({**full, key: off[key]}) for key in full)])

    def _off(self, factor: Factor, full: Levels) -> Level:
        """The level of a factor without the ingredient."""
        if factor.name not in full:
            rule = "does not exist in the full recipe (reference), so that it cannot be left out"
            raise SettingError(factor.name, rule)
        level: Level
        if self.off and factor.name in self.off:
            level = level_of(self.off[factor.name])
            if level not in factor.values:
                rule = f"is not a level of this factor. {nearest_level(level, factor.values)}"
                raise SettingError(f"design.off.{factor.name}", rule, plain(level))
        else:
            found = [value for value in factor.values if is_off(value)]
            if len(found) != 1:
                example = next(
                    (value for value in factor.values if value != full[factor.name]),
                    factor.values[0],
                )
                rule = (
                    f"has no level that is off (one of false, none, off, 0), which design leave_one_out needs; name it: "
                    f"design: {{name: leave_one_out, off: {{{factor.name}: {_shown(example)}}}}}"
                )
                raise SettingError(factor.name, rule, [plain(value) for value in factor.values])
            level = found[0]
        if level == full[factor.name]:
            rule = "must be the level of the full recipe, and not the one without the ingredient"
            raise SettingError(f"reference.{factor.name}", rule, plain(level))
        return level

    def largest(self, crossing: Crossing) -> int:
        return 1 + len(crossing.factors)

    def reference(self, crossing: Crossing) -> Levels:
        for key in self.off or ():
            if key not in crossing.factors:
                rule = f"must be one of the factors. {nearest(key, crossing.factors)}"
                raise SettingError(f"design.off.{key}", rule)
        return crossing.full_reference("leave_one_out", "starts from a full recipe, the reference")

    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        return (
            "the full recipe (the reference), and the recipe without each one of its ingredients",
            "what an ingredient gives without another one cannot be seen",
        )


def is_off(value: Level) -> bool:
    """Whether a level is one of the usual words for nothing."""
    if isinstance(value, bool | str):
        return value in OFF
    return value == 0


def _shown(level: Level) -> str:
    return level if isinstance(level, str) else shorten(plain(level))
