"""Parameters of a space as Optuna has them."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection

from karat.parameters import Tuned, level_of
from karat.samplers import SearchConfig
from karat.space.space import Space


def directions_of(search: SearchConfig) -> list[StudyDirection]:
    """Whether Optuna is to maximise or to minimise: the metric, or each goal."""
    modes = [goal.mode for goal in search.goals] or [search.mode]
    return [StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE for mode in modes]


def distribution(
    tuned: Tuned,
) -> CategoricalDistribution | IntDistribution | FloatDistribution:
    """The Optuna distribution of a tuned parameter."""
    if tuned.values is not None:
        return CategoricalDistribution(tuned.values)
    assert tuned.low is not None
    assert tuned.high is not None
    if isinstance(tuned.low, int) and isinstance(tuned.high, int):
        return IntDistribution(tuned.low, tuned.high, log=tuned.log)
    return FloatDistribution(tuned.low, tuned.high, log=tuned.log)


def suggest(trial: optuna.Trial, tuned: Tuned) -> None:
    each = distribution(tuned)
    if isinstance(each, CategoricalDistribution):
        trial.suggest_categorical(tuned.name, each.choices)
    elif isinstance(each, IntDistribution):
        trial.suggest_int(tuned.name, each.low, each.high, log=each.log)
    else:
        trial.suggest_float(tuned.name, each.low, each.high, log=each.log)


def suggest_levels(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    levels: dict[str, Any] = {}
    for key, factor in space.factors.items():
        if all(_level(levels, space, name) in values for name, values in factor.when.items()):
            levels[key] = factor.values[trial.suggest_categorical(key, range(len(factor.values)))]
    return levels


def _level(levels: Mapping[str, Any], space: Space, name: str) -> Any:
    section, _, key = name.partition(".")
    return levels.get(name, level_of(space.source.get(section, {}).get(key)))
