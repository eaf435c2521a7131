"""Between a parameter's values and the numbers from 0 to 1, for samplers that work on a unit cube."""

import abc
import math
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from karat.samplers import Turn


class CubeSampler(optuna.samplers.BaseSampler):
    """Proposes all parameters of a turn at once, as a point of the unit cube."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    @abc.abstractmethod
    def point(self, study: optuna.Study, space: Mapping[str, BaseDistribution]) -> Iterable[float]:
        """A number from 0 to 1 for each parameter, in the order of the space, which is not empty."""

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
        if not search_space:
            return {}
        return {
            name: value_at(each, float(place))
            for (name, each), place in zip(
                search_space.items(), self.point(study, search_space), strict=True
            )
        }

    def sample_independent(self, *_: Any) -> Any:
        raise AssertionError("all parameters are proposed at once")


def value_at(distribution: BaseDistribution, place: float) -> Any:
    """The value of a parameter at a place from 0 to 1.

    Equal parts of the unit interval belong to each value of a list and to each whole number; on a
    logarithmic scale, to equal ratios.
    """
    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[min(count - 1, int(place * count))]
    low, high = _ends(distribution)
    found = low + place * (high - low)
    if _is_log(distribution):
        found = math.exp(found)
    if isinstance(distribution, IntDistribution):
        return min(distribution.high, max(distribution.low, round(found)))
    assert isinstance(distribution, FloatDistribution)
    return min(distribution.high, max(distribution.low, found))


def place_of(distribution: BaseDistribution, value: float) -> float:
    """The place, from 0 to 1, of a value of a range; the inverse of `value_at`."""
    low, high = _ends(distribution)
    return ((math.log(value) if _is_log(distribution) else value) - low) / (high - low)


def _is_log(distribution: BaseDistribution) -> bool:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.log


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    """Both ends of a range; of whole numbers half a number further out, so that all have the same width."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    margin = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    low, high = distribution.low - margin, distribution.high + margin
    return (math.log(low), math.log(high)) if distribution.log else (low, high)
