"""One factor at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

from karat.designs import Crossing, Design, Levels, distinct
from karat.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class OneFactor(Design):
    """Each factor is varied from the reference, while the others stay at the reference's levels; every arm is tuned
    equally and confirmed.

    A factor that first exists at a varied level belongs to that level: it has its first level there, and is then
    varied alone. Interactions of factors cannot be seen.
    """

    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        base = self.reference(crossing)
        found = list(distinct(self._varied(crossing, base)))
        for key, factor in crossing.factors.items():
            missing = [value for value in factor.values if all(x.get(key) != value for x in found)]
            if missing:
                rule = (
                    "does not exist in the reference, nor at a level that is varied from it, so that design one_factor "
                    "would never vary it; choose a reference that has it, or another design"
                )
                raise SettingError(key, rule, list(missing))
        return iter(found)

    @staticmethod
    def _varied(crossing: Crossing, base: Levels) -> Iterator[Levels]:
        yield base
        for key in base:
            for value in crossing.factors[key].values:
                levels = crossing.folded({**base, key: value})
                yield levels
                # What exists only at this level is part of it.
                for own in [each for each in levels if each not in base]:
                    for other in crossing.factors[own].values:
                        yield crossing.folded({**levels, own: other})

    def largest(self, crossing: Crossing) -> int:
        sizes = [len(factor.values) for factor in crossing.factors.values()]
        if crossing.is_crossed:
            return 1 + sum(sizes) - len(sizes)
        return 1 + sum(sizes) * sum(sizes)

    def reference(self, crossing: Crossing) -> Levels:
        return crossing.full_reference("one_factor", "varies each factor from the reference")

    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        return (
            "each factor varied from the reference, the others at its levels",
            "what a level gives at other levels of the other factors cannot be seen",
        )
