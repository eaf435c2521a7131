"""Optuna samplers: one file each, registered in `SAMPLERS` by file name."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from karat.catalog import Catalog
from karat.constraints import Constraint, contradiction
from karat.errors import SettingError
from karat.parameters import Tuned
from karat.settings import at_least, at_most

if TYPE_CHECKING:  # a space can be read without Optuna
    from optuna.samplers import BaseSampler

__all__ = ["MAX_TRIALS", "SAMPLERS", "Sampler", "SearchConfig"]

MAX_TRIALS = 100_000


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The settings of the search.

    Args:
        sampler: what proposes the next values.
        trials: number of trials, from 1 to 100,000, at least one for each arm; not set for `grid`, which
            runs its whole grid.
        metric: the metric that is optimised, on the validation split.
        mode: whether high or low values are good: `max` for `val_accuracy`, `min` for `val_loss`.
        allocation: `equal`, every arm gets the same number of trials and is tuned separately;
            `by_level`, each level that is confirmed and each reference gets the same number, which
            the arms of a level share; `free`, the sampler also chooses the arms.
        constraints: conditions on the metrics of an epoch, `METRIC >= NUMBER` or `METRIC <= NUMBER`, such as
            `health_entropy >= 0.05` or `val_loss <= 5`. A trial of the search that breaks one is stopped after that epoch,
            also after its last one, and is not confirmed. Those on `health_...` need `training.health: true`.
    """

    sampler: str = "tpe"
    trials: int | None = None
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    allocation: Literal["equal", "by_level", "free"] = "equal"
    constraints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least("trials", self.trials, 1)
        at_most("trials", self.trials, MAX_TRIALS)
        if self.mode != ("min" if self.metric == "val_loss" else "max"):
            right, good = ("min", "low") if self.metric == "val_loss" else ("max", "high")
            rule = f"must be {right} for {self.metric}, of which {good} values are good"
            raise SettingError("mode", rule, self.mode)
        for place, text in enumerate(self.constraints):
            try:
                Constraint.of(text)
            except ValueError as error:
                raise SettingError(f"constraints[{place}]", str(error), text) from None
        if (pair := contradiction(self.conditions)) is not None:
            both = pair[0].relation != pair[1].relation
            why = (
                "no value meets both"
                if both
                else "what meets one meets the other; keep one of them"
            )
            raise SettingError("constraints", f"{pair[0]} and {pair[1]}: {why}")

    @property
    def conditions(self) -> tuple[Constraint, ...]:
        """The constraints."""
        return tuple(map(Constraint.of, self.constraints))


class Sampler(abc.ABC):
    """Proposes the next values of the tuned parameters.

    Every proposal uses a new Optuna sampler, with a seed derived from the number of the proposal. So
    a proposal depends only on the trials told so far, and a resumed study proposes the same values
    as an uninterrupted one.
    """

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        """Refuse a search that this sampler does not support.

        Raises:
            SettingError: the setting, and why.
        """
        if search.trials is None:
            raise SettingError("search.trials", f"is missing; sampler {search.sampler} requires it")

    @classmethod
    @abc.abstractmethod
    def make(cls, seed: int, trials: int) -> "BaseSampler":
        """The sampler for one proposal.

        Args:
            seed: seed of this proposal.
            trials: total number of trials of the Optuna study.
        """


SAMPLERS = Catalog(Sampler, "search.sampler")  # type: ignore[type-abstract]
