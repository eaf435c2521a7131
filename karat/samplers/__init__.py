"""Optuna samplers by name: one file each, found by `SAMPLERS`."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna

from karat.catalog import Catalog
from karat.errors import SettingError
from karat.parameters import Tuned
from karat.settings import at_least, at_most

__all__ = ["MAX_TRIALS", "SAMPLERS", "Sampler", "SearchConfig"]

MAX_TRIALS = 100_000


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How the search goes.

    Args:
        sampler: a name in `karat.samplers.SAMPLERS`.
        trials: in all; `grid` runs its whole grid and takes none.
        metric: what is optimised, as a trial reports it.
        mode: `max` or `min`.
        allocation: `equal`, every arm gets the same number of trials and is tuned on its own;
            `free`, the sampler chooses the arms too.
    """

    sampler: str = "tpe"
    trials: int | None = None
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    allocation: Literal["equal", "free"] = "equal"

    def __post_init__(self) -> None:
        at_least("trials", self.trials, 1)
        at_most("trials", self.trials, MAX_TRIALS)
        if self.mode != ("min" if self.metric == "val_loss" else "max"):
            raise SettingError("mode", f"does not fit the metric {self.metric}", self.mode)


class Sampler(abc.ABC):
    """How the next values are proposed.

    A fresh Optuna sampler is made for every proposal, with a seed that follows from the
    proposal's number: so a proposal depends on the trials told so far and on nothing else,
    and a resumed study proposes what an unbroken one would have.
    """

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        """Refuse a search that this sampler cannot do.

        Raises:
            SettingError: which setting, and why.
        """
        if search.trials is None:
            raise SettingError("search.trials", f"is missing; sampler {search.sampler} needs it")

    @classmethod
    @abc.abstractmethod
    def make(cls, seed: int, trials: int) -> optuna.samplers.BaseSampler:
        """The sampler for one proposal.

        Args:
            seed: of this proposal.
            trials: that the study it samples for will have in all.
        """


SAMPLERS = Catalog(Sampler, "search.sampler")  # type: ignore[type-abstract]
