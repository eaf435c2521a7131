"""No early stopping."""

from dataclasses import dataclass

from karat.schedulers import Scheduler


@dataclass(kw_only=True)
class NoStopping(Scheduler):
    """Every trial runs for all its epochs."""

    def in_words(self) -> str:
        return "every trial runs for all its epochs"

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        return False
