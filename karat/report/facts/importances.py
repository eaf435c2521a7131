"""Which parameters the value of a trial depends on, by values after the same number of epochs."""

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.statistics.metric import Metric

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FEWEST_TRIALS = 20  # of which the best are a quarter
# Two trials, a tenth of 20, would have much in common by chance.
BEST_SHARE, FEWEST_BEST = 0.1, 5
MOST_TRIALS = 200  # of more, a random part is taken: the evaluator copies every trial
RESAMPLES, CONFIDENCE, SEED = 100, 0.95, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Share of one parameter in the importance of all, with the ends of its interval."""

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """Importances of the factors and tuned parameters of a study's search.

    Args:
        epoch: at which all values were taken.
        trials: that were compared; of `of` trials.
        best: of these, how many the share is about; more where values are equal.
        of: search trials that completed or were stopped.
        found: by share, the largest first.
    """

    epoch: int
    trials: int
    best: int
    of: int
    found: tuple[Importance, ...]


def importances(state: StudyState, metric: Metric) -> Importances | None:
    """Importances by PED-ANOVA, all values at the last epoch that every trial has reported.

    Source: Watanabe et al. 2023 (arXiv 2304.10255), as `optuna.importance.PedAnovaImportanceEvaluator`
    computes them: by how much the best tenth of the trials, or the best five, differ in a parameter from all. Values
    after different numbers of epochs do not compare: with stopped trials at their last value, a
    parameter that only decides who is stopped would seem important. Each interval is from the
    percentiles of the share in resamples of the trials (Efron 1979).

    Args:
        state: of the study.
        metric: of the study.

    Returns:
        None with fewer than `FEWEST_TRIALS` trials or two parameters, and where nothing differs.
    """
    # Matched arms have the levels of others, from which they differ in settings that are none.
    matched = {arm["label"] for arm in state.created["arms"] if "raw" in arm}
    searched = [trial for trial in state.of_phase("search") if trial.arm not in matched]
    known = [t for t in searched if t.status in ("completed", "stopped") and t.reports]
    levels, ranges = _levels(state), state.created["space"].get("tuned", {})
    if len(known) < FEWEST_TRIALS or len(levels) + len(ranges) < 2:
        return None
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of each study that is created
    draw = random.Random(SEED)
    taken = sorted(draw.sample(range(len(known)), min(len(known), MOST_TRIALS)))
    epoch = min(max(trial.reports.epochs) for trial in known)
    frozen = [
        _frozen(known[place], -metric.goodness(value), levels, ranges)
        for place in taken
        if (value := _value_at(known[place], epoch, metric)) is not None
    ]
    shares = _shares(frozen)
    if shares is None or len(frozen) < FEWEST_TRIALS:
        return None
    resampled = (_shares(draw.choices(frozen, k=len(frozen))) for _ in range(RESAMPLES))
    drawn = [each for each in resampled if each is not None]
    found = [_with_interval(name, share, drawn) for name, share in shares.items()]
    return Importances(
        epoch=epoch,
        trials=len(frozen),
        best=best_of(len(frozen)),
        of=len(known),
        found=tuple(found),
    )


def best_of(trials: int) -> int:
    """How many of so many trials are the best ones."""
    return max(FEWEST_BEST, math.ceil(BEST_SHARE * trials))


def _with_interval(name: str, share: float, drawn: Sequence[Mapping[str, float]]) -> Importance:
    """A share and the percentiles of its resamples; a parameter that one lacks has a share of 0."""
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile([each.get(name, 0.0) for each in drawn] or [share], (tail, 1 - tail))
    return Importance(name=name, share=share, low=float(ends[0]), high=float(ends[1]))


def _shares(trials: Sequence["FrozenTrial"]) -> dict[str, float] | None:
    """Share of each parameter, the largest first; None where no parameter has any."""
    import optuna

    study = optuna.create_study(direction="minimize")
    study.add_trials(trials)
    with warnings.catch_warnings():
        # It warns where the best tenth is all, or a parameter is rare: its share is then 0.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        share = best_of(len(trials)) / len(trials)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        found = evaluator.evaluate(study)
    total = sum(found.values())
    return {name: each / total for name, each in found.items()} if total > 0 else None


def _value_at(trial: Trial, epoch: int, metric: Metric) -> float | None:
    """The metric after an epoch; None if the trial did not report it."""
    for place, each in enumerate(trial.reports.epochs):
        if each == epoch:
            return trial.reports[place].metrics.get(metric.name)
    return None


def _frozen(
    trial: Trial, value: float, levels: Mapping[str, Sequence[Any]], ranges: Mapping[str, Any]
) -> "FrozenTrial":
    """The trial for Optuna, with low values for good ones; a level is its place, since it may be a list."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import create_trial

    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, level in trial.factors.items():
        if name in levels:
            params[name] = levels[name].index(level)
            distributions[name] = CategoricalDistribution(range(len(levels[name])))
    for name, each in trial.tuned.items():
        if name in ranges:
            params[name], distributions[name] = each, _distribution(ranges[name])
    return create_trial(params=params, distributions=distributions, value=value)


def _distribution(given: Mapping[str, Any]) -> "BaseDistribution":
    """The distribution of a tuned parameter, from the source of a space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "values" in given:
        return CategoricalDistribution(given["values"])
    low, high, log = given["low"], given["high"], given.get("log", False)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _levels(state: StudyState) -> dict[str, list[Any]]:
    """Each factor that has several levels, and these, as the arms have them."""
    found: dict[str, dict[Any, None]] = {}
    for arm in state.created["arms"]:
        for name, level in arm["factors"].items():
            found.setdefault(name, {})[level] = None
    return {name: list(levels) for name, levels in found.items() if len(levels) > 1}
