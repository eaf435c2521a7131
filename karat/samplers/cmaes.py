"""Evolution of a normal distribution over the ranges of the tuned parameters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from karat.errors import SettingError
from karat.parameters import Tuned
from karat.samplers import Sampler, SearchConfig, Turn, ranges_alone
from karat.samplers._unit import CubeSampler, place_of

if TYPE_CHECKING:
    from cmaes import CMA

_FIRST_SPREAD = 1 / 6  # of a range, as in Optuna
_RESAMPLINGS = 10  # for each parameter, of points beyond the ranges


class CMAES(Sampler):
    """CMA-ES (Hansen 2016), by the package cmaes; for ranges only, since a list of values has no order.

    The distribution is computed anew for each proposal, from the trials so far: every 4 + 3 ln(d) of them, for d
    parameters, are a generation. Departures from Optuna's CmaEsSampler, which keeps the distribution in the attributes
    of trials: a trial belongs to a generation by its number, whichever distribution proposed it; and
    trials that early stopping ended count, behind the completed ones and the later stopped, the better.
    """

    several_goals = False

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        super().check(search, tuned)
        ranges_alone(search)
        for parameter in tuned:
            if parameter.values is not None:
                rule = (
                    "must be a range for sampler cmaes: {low, high}; a list of values has no order"
                )
                raise SettingError(parameter.name, rule)

    @classmethod
    def make(cls, turn: Turn) -> optuna.samplers.BaseSampler:
        return _Distribution(turn)


class _Distribution(CubeSampler):
    """One draw from the distribution that the trials so far lead to."""

    def point(self, study: optuna.Study, space: Mapping[str, BaseDistribution]) -> Iterable[float]:
        found: Iterable[float] = _adapted(study, space, self._turn.seed).ask()
        return found


def _adapted(study: optuna.Study, space: Mapping[str, BaseDistribution], seed: int) -> "CMA":
    """The optimiser after all whole generations of the trials so far."""
    from cmaes import CMA

    count = len(space)
    optimizer = CMA(
        mean=np.full(count, 0.5),
        sigma=_FIRST_SPREAD,
        bounds=np.tile((0.0, 1.0), (count, 1)),
        n_max_resampling=_RESAMPLINGS * count,
        seed=seed,  # of the draw that follows; what is told needs none
    )
    told = ranked(study)
    size = optimizer.population_size
    for first in range(0, len(told) - size + 1, size):
        optimizer.tell(
            [
                (np.array([place_of(d, trial.params[n]) for n, d in space.items()]), float(rank))
                for trial, rank in told[first : first + size]
            ]
        )
    return optimizer


def ranked(study: optuna.Study) -> list[tuple[FrozenTrial, int]]:
    """The trials that say something, by number, each with its rank among them; 0 is the best.

    First the completed ones by value, then the stopped ones, the later the better and then by value, last those
    that break a constraint. Failed ones say nothing.
    """
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0

    def key(trial: FrozenTrial) -> tuple[float, float, float]:
        if trial.constraints and any(each > 0 for each in trial.constraints.values()):
            return (2, 0, 0)
        if trial.state == TrialState.COMPLETE:
            assert trial.value is not None
            return (0, 0, sign * trial.value)
        if (step := trial.last_step) is None:
            return (2, 0, 0)
        return (1, -step, sign * trial.intermediate_values[step])

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    ranks = {trial.number: rank for rank, trial in enumerate(sorted(trials, key=key))}
    return [(trial, ranks[trial.number]) for trial in trials]
