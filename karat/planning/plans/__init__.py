"""Which trials to run: the search, then the confirmation of its best cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.space.space import Arm
from karat.training.recipes import DEFAULT, load_recipe

__all__ = ["Proposal", "budgeted"]


def budgeted(config: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """A trial's configuration, trained for a multiple of its epochs."""
    if budget == 1:
        return dict(config)
    training = config["training"]
    epochs = training.get("epochs") or load_recipe(training.get("recipe", DEFAULT))["epochs"]
    return {**config, "training": {**training, "epochs": budget * epochs}}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed trial: an arm, its tuned parameters, the index of the seed, the tuning (from 0), and the
    multiple of the epochs.
    """

    arm: Arm
    tuned: Mapping[str, Any]
    seed_index: int
    tuning: int = 0
    budget: int = 1

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the trial."""
        return budgeted(self.arm.config(self.tuned), self.budget)
