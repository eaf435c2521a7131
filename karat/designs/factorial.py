"""All combinations, for effects and interactions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from karat.designs import Crossing, Design, Levels
from karat.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Factorial(Design):
    """Every combination of levels is an arm, tuned equally and confirmed; the report gives main effects and
    interactions of two factors over all of them.
    """

    has_effects: ClassVar[bool] = True

    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        varied = [key for key, factor in crossing.factors.items() if len(factor.values) > 1]
        if len(varied) < 2:
            rule = "must have at least two factors with several levels, of which design factorial shows the interactions"
            raise SettingError("factors", rule)
        return crossing.all()

    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        sizes = " x ".join(str(len(factor.values)) for factor in crossing.factors.values())
        crossed = "" if crossing.is_crossed else ", without those that conditions rule out"
        return (
            f"all combinations of the factors ({sizes}{crossed})",
            "the report gives main effects and interactions of two factors over all arms",
        )
