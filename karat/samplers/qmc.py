"""A Sobol' sequence: values that cover the ranges more evenly than independent draws."""

from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution

from karat.parameters import Tuned
from karat.samplers import Sampler, SearchConfig, Turn, ranges_alone
from karat.samplers._unit import CubeSampler


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


class _Sequence(CubeSampler):
    """One point of the sequence."""

    def point(self, study: optuna.Study, space: Mapping[str, BaseDistribution]) -> Iterable[float]:
        from scipy.stats import qmc  # slow to import

        engine = qmc.Sobol(len(space), scramble=True, rng=self._turn.series)
        # Points beyond those of the study, in place of one that must not be trained.
        if place := self._turn.index + self._turn.attempt * self._turn.trials:
            engine.fast_forward(place)
        found: Iterable[float] = engine.random(1)[0]
        return found
