"""A Sobol' sequence: values that cover the ranges more evenly than independent draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from karat.parameters import Tuned
from karat.samplers import Sampler, SearchConfig, Turn, ranges_alone
from karat.samplers._unit import value_at


class QMC(Sampler):
    """A scrambled Sobol' sequence (Owen 1998, by scipy), the same in every arm.

    Optuna's QMCSampler counts in the attributes of its study how far the sequence is, and draws the first trial
    from elsewhere. Here a proposal is the point with its own number, so that a resumed study goes on with
    the same sequence.
    """

    learns = False

    @classmethod
    def check(cls, search: SearchConfig, tuned: Sequence[Tuned]) -> None:
        super().check(search, tuned)
        ranges_alone(search)

    @classmethod
    def make(cls, turn: Turn) -> optuna.samplers.BaseSampler:
        return _Sequence(turn)


class _Sequence(optuna.samplers.BaseSampler):
    """One point of the sequence."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._turn.parameters)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        from scipy.stats import qmc  # slow to import

        if not search_space:
            return {}
        engine = qmc.Sobol(len(search_space), scramble=True, rng=self._turn.series)
        # Points beyond those of the study, in place of one that must not be trained.
        if place := self._turn.index + self._turn.attempt * self._turn.trials:
            engine.fast_forward(place)
        point = engine.random(1)[0]
        return {
            name: value_at(each, float(place))
            for (name, each), place in zip(search_space.items(), point, strict=True)
        }

    def sample_independent(self, *_: Any) -> Any:
        raise AssertionError("all parameters are in the sequence")
