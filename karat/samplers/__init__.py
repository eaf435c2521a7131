"""Optuna samplers: one file each, registered in `SAMPLERS` by file name."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from karat.catalog import Catalog
from karat.constraints import Constraint, contradiction
from karat.errors import SettingError
from karat.goals import Goal, check_goals
from karat.parameters import Tuned
from karat.settings import at_least, at_most

if TYPE_CHECKING:  # a space can be read without Optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

__all__ = [
    "MAX_TRIALS",
    "SAMPLERS",
    "Sampler",
    "SearchConfig",
    "Turn",
    "ranges_alone",
    "startup_trials",
]

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
        warm_start: an older study (its name, or its folder) whose completed search trials are told to the sampler before the
            first trial. It must have the same data, metric, tuned parameters and settings of the arms. Its results are no
            trials of this study and are not confirmed. Only for samplers that learn from results, and one tuning.
        constraints: conditions on the metrics of an epoch, `METRIC >= NUMBER` or `METRIC <= NUMBER`, such as
            `health_entropy >= 0.05` or `val_loss <= 5`. A trial of the search that breaks one is stopped after that epoch,
            also after its last one, and is not confirmed. Those on `health_...` need `training.health: true`. Those on
            `parameters`, `macs` (multiply-adds of one image's forward pass) and `memory_mb` (forecast of a process's peak, in MiB) are
            known before: what breaks one is not trained, and the sampler proposes something else.
        goals: two or three goals that are weighed against each other, as `{metric: val_accuracy, mode: max}` and
            `{metric: parameters, mode: min}`. The first is `metric`, about which the verdicts are. Others are `val_loss`, `macs`,
            `epoch_s` (seconds of an epoch) and `memory_mb` (measured peak of a process, in MiB). Not for sampler `cmaes`.
    """

    sampler: str = "tpe"
    trials: int | None = None
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    allocation: Literal["equal", "by_level", "free"] = "equal"
    warm_start: str | None = None
    constraints: tuple[str, ...] = ()
    goals: tuple[Goal, ...] = ()

    def __post_init__(self) -> None:
        at_least("trials", self.trials, 1)
        at_most("trials", self.trials, MAX_TRIALS)
        if self.mode != ("min" if self.metric == "val_loss" else "max"):
            right, good = ("min", "low") if self.metric == "val_loss" else ("max", "high")
            rule = f"must be {right} for {self.metric}, of which {good} values are good"
            raise SettingError("mode", rule, self.mode)
        check_goals(self.goals, self.metric)
        if self.goals and self.warm_start is not None:
            rule = "must not be set with search.goals, of which the older study has one"
            raise SettingError("warm_start", rule, self.warm_start)
        if self.warm_start == "":
            raise SettingError("warm_start", "must be the name of a study, or its folder", "")
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

    @property
    def limits(self) -> tuple[Constraint, ...]:
        """The constraints on what is known before training."""
        return tuple(each for each in self.conditions if each.is_known_before)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One proposal, as a sampler is made for it.

    Args:
        seed: of this proposal.
        series: seed that all proposals of a tuning share, in every arm; for samplers that follow a sequence.
        index: number of the proposal in its Optuna study, from 0.
        attempt: number of proposals in this place before, which broke a constraint that is known before training.
        trials: total number of trials of the Optuna study.
        parameters: full name to distribution, in the order of the space.
    """

    seed: int
    series: int
    index: int
    trials: int
    parameters: Mapping[str, "BaseDistribution"]
    attempt: int = 0


class Sampler(abc.ABC):
    """Proposes the next values of the tuned parameters.

    Every proposal uses a new Optuna sampler, which may depend on its `Turn`, and on parameters, values, states and order
    of the trials in the Optuna study; never on attributes that a sampler has written there, nor on the clock. A resumed
    study makes its trials again from the journal, without a sampler, and proposes the same values as an
    uninterrupted one.

    `learns` says whether results of other trials change its proposals, `several_goals` whether it can weigh goals.
    """

    learns: ClassVar[bool] = True
    several_goals: ClassVar[bool] = True

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        """Refuse a search that this sampler does not support.

        Raises:
            SettingError: the setting, and why.
        """
        if search.trials is None:
            raise SettingError("search.trials", f"is missing; sampler {search.sampler} requires it")
        cls.check_warm_start(search)
        if search.goals and not cls.several_goals:
            able = ", ".join(name for name in SAMPLERS if SAMPLERS[name].several_goals)
            rule = f"has one goal; for search.goals use one of these: {able}"
            raise SettingError("search.sampler", rule, search.sampler)

    @classmethod
    def check_warm_start(cls, search: SearchConfig) -> None:
        """Refuse results of an older study for a sampler that does not learn from any.

        Raises:
            SettingError: names the setting.
        """
        if search.warm_start is not None and not cls.learns:
            rule = f"must not be set for sampler {search.sampler}, which learns from no results"
            raise SettingError("search.warm_start", rule, search.warm_start)

    @classmethod
    @abc.abstractmethod
    def make(cls, turn: Turn) -> "BaseSampler":
        """The sampler for one proposal."""


def startup_trials(trials: int) -> int:
    """Random trials before a model is made of them: with few trials a third of them, and not ten."""
    return min(10, max(2, trials // 3))


def ranges_alone(search: SearchConfig) -> None:
    """Refuse that the sampler chooses the arms too, for one that knows the parameters of each arm alone.

    Raises:
        SettingError: names the setting.
    """
    if search.allocation == "free":
        rule = f"must be equal or by_level for sampler {search.sampler}, which chooses no arms"
        raise SettingError("search.allocation", rule, search.allocation)


SAMPLERS = Catalog(Sampler, "search.sampler")  # type: ignore[type-abstract]
