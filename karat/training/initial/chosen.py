"""The trial whose weights an arm starts from, where `STUDY/same arm` leaves the choice to karat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The trial that an arm starts from.

    Args:
        text: as `model.init_from` names it, STUDY/TRIAL.
        arm: its label, there.
        metric: by which it is the best of its seeds.
        seeds: completed confirmation runs of this arm.
    """

    text: str
    arm: str
    metric: str
    seeds: int

    def plain(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {"arm": self.arm, "metric": self.metric, "seeds": self.seeds}

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Self | None:
        """From an entry of `weights` in a journal; None where the space names the trial itself."""
        if "chosen" not in recorded:
            return None
        return cls(text=recorded["init_from"], **recorded["chosen"])

    def __str__(self) -> str:
        rank = f"the best of {self.seeds} seeds by {self.metric}"
        return f"{rank if self.seeds > 1 else 'the only seed'} of the same arm there, {self.arm}"
