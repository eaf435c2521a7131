"""All combinations, tuned, and confirmed by arm or by the levels of one factor."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from karat.designs import Crossing, Design, Levels


@dataclass(frozen=True, kw_only=True)
class Search(Design):
    """Every combination of levels is an arm; each is tuned, and the best of each level of `confirm.by` is confirmed."""

    confirms_every_arm: ClassVar[bool] = False

    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        return crossing.all()

    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        return ("all combinations of the factors",)
