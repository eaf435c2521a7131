"""A two-level fraction of all combinations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from karat.designs import Crossing, Design, Levels
from karat.designs._fractions import LETTERS, MOST_FACTORS, Fraction, Word, fractions_of
from karat.errors import SettingError
from karat.parameters import plain
from karat.settings import at_least

__all__ = ["Fraction", "Fractional", "Word"]

ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}
_LEAST_FACTORS, _LEAST_RESOLUTION, _DEFAULT, _MOST_RUNS = 3, 3, 4, 128


@dataclass(frozen=True, kw_only=True)
class Fractional(Design):
    """A fraction of all combinations of factors with two levels each, by the generators of Box, Hunter & Hunter
    (Statistics for Experimenters, table 6.22); every arm is tuned equally and confirmed, and the report gives main effects and
    interactions with what is aliased with them.

    Args:
        resolution: 3, main effects are aliased with interactions of two factors; 4, these with each other; 5 and more,
            neither. The smallest fraction with at least this resolution is taken; 4 if neither this nor `runs` is given.
        runs: number of arms instead, a power of 2.
    """

    needs_all: ClassVar[bool] = True
    has_effects: ClassVar[bool] = True

    resolution: int | None = None
    runs: int | None = None

    def __post_init__(self) -> None:
        at_least("resolution", self.resolution, _LEAST_RESOLUTION)
        at_least("runs", self.runs, 1)
        if self.resolution is not None and self.runs is not None:
            rule = "must be omitted if runs is given: a number of runs has one resolution"
            raise SettingError("resolution", rule, self.resolution)

    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        fraction = self.fraction(crossing)
        for levels in fraction.levels():
            yield {
                key: factor.values[(level + 1) // 2]
                for (key, factor), level in zip(crossing.factors.items(), levels, strict=True)
            }

    def fraction(self, crossing: Crossing) -> Fraction:
        """The one that is run, which has the reference.

        Raises:
            SettingError: a factor has other than two levels or a condition, or there is no such fraction.
        """
        for key, factor in crossing.factors.items():
            if len(factor.values) != 2:
                rule = f"must have two levels for design fractional, and has {len(factor.values)}; keep two, or use factorial"
                raise SettingError(key, rule, [plain(value) for value in factor.values])
            if factor.when:
                rule = (
                    f"exists only at some levels of {', '.join(factor.when)}, but design fractional needs every factor in every "
                    "arm; fix one of them, or use factorial"
                )
                raise SettingError(key, rule)
        base = [
            2 * factor.values.index(crossing.base[key]) - 1
            for key, factor in crossing.factors.items()
        ]
        return self._chosen(len(crossing.factors)).through(base)

    def _chosen(self, factors: int) -> Fraction:
        """The fraction of the published ones that has the wanted number of runs or resolution."""
        known = self._known(factors)
        wanted = self.resolution or _DEFAULT
        if self.runs is not None:
            runs = self.runs
            fitting = [each for each in known if each.runs == runs]
            near = min(known, key=lambda each: (abs(each.runs - runs), each.runs))
            key, given = "design.runs", runs
        else:
            # All combinations have every resolution, but are no fraction, and may be very many.
            few = [each for each in known if each.added or each.runs <= _MOST_RUNS]
            fitting = [each for each in few if (each.resolution or wanted) >= wanted]
            near = max(few, key=lambda each: (each.resolution or 0, -each.runs))
            key, given = "design.resolution", wanted
        if fitting:
            return fitting[0]
        rule = f"cannot be built for {factors} factors; the nearest is {_described(near)}"
        raise SettingError(key, f"{rule}. There are: {', '.join(map(_described, known))}", given)

    @staticmethod
    def _known(factors: int) -> list[Fraction]:
        if factors < _LEAST_FACTORS:
            rule = (
                f"must be at least {_LEAST_FACTORS} for design fractional; with fewer use factorial"
            )
            raise SettingError("factors", rule)
        if factors > MOST_FACTORS:
            rule = f"must be at most {MOST_FACTORS} for design fractional, whose generators are published for so many"
            raise SettingError("factors", rule)
        return fractions_of(factors)

    def largest(self, crossing: Crossing) -> int:
        return self.fraction(crossing).runs

    def reference(self, crossing: Crossing) -> Levels:
        return crossing.base

    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        fraction = self.fraction(crossing)
        letters = ", ".join(
            f"{letter} {key}" for letter, key in zip(LETTERS, crossing.factors, strict=False)
        )
        full = 2**fraction.factors
        if fraction.resolution is None:
            return (f"all {full} combinations of two levels", f"factors: {letters}")
        share = f"1/{full // fraction.runs} of {full} combinations, {_described(fraction)}"
        return (
            share,
            f"factors: {letters}",
            f"generators: {', '.join(fraction.generators())} (Box, Hunter & Hunter)",
            ALIASED.get(fraction.resolution, ALIASED[5]),
        )


ALIASED = {
    3: "main effects are aliased with interactions of two factors: the report names them",
    4: "main effects are not aliased with interactions of two factors, which are aliased with each other: the report names them",
    5: "neither main effects nor interactions of two factors are aliased with each other, but with interactions of three and more",
}


def _described(fraction: Fraction) -> str:
    of = fraction.resolution
    return (
        f"{fraction.runs} runs ({'all combinations' if of is None else f'resolution {ROMAN[of]}'})"
    )
