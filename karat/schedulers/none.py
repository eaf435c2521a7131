"""No early stopping."""

from collections.abc import Sequence
from dataclasses import dataclass

from karat.schedulers import Scheduler


@dataclass(kw_only=True)
class NoStopping(Scheduler):
    """Every trial runs for all its epochs."""

    def in_words(self) -> str:
        return "every trial runs for all its epochs"

    several_goals = True

    def on_goals(self, arm: str, trial: int, epoch: int, values: Sequence[float]) -> bool:
        return False

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        return False
