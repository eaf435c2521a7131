"""Every cell once, at full length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from karat.designs import Crossing, Design, Levels


@dataclass(frozen=True, kw_only=True)
class Grid(Design):
    """Every combination of levels and of listed tuned values is trained once, at full length; the best cell of each
    arm is then confirmed with fresh seeds. Needs lists in `tuned`, or none, and no early stopping.
    """

    confirms_every_arm: ClassVar[bool] = False
    trains_each_cell: ClassVar[bool] = True

    def combinations(self, crossing: Crossing) -> Iterator[Levels]:
        return crossing.all()

    def in_words(self, crossing: Crossing) -> tuple[str, ...]:
        return (
            "all combinations of the factors and of the tuned values, each trained at full length",
        )
