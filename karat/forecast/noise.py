"""The noise floor of a question: its reference arm against itself (A/A), as a study of its own.

Two arms that differ in `training.replicate` alone are the same arm with other random numbers, so that every
difference between them is noise. The pairs of such a study share no random numbers: their spread is what a
comparison has before the pairing by seeds takes a part of it away.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.errors import InputError
from karat.parameters import Scalar, Tuned, plain
from karat.report.facts.summary import Summary
from karat.space.space import SECTIONS, Space
from karat.statistics.comparison import Comparison
from karat.statistics.metric import Metric
from karat.statistics.power import POWER, chance_of_equivalence, power
from karat.tested import WEIGHTS

SUFFIX = "-noise"
MOST_SEEDS = 100_000
_REPLICATE = "training.replicate"
_NAME = 63  # characters of a study's name


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What the runs of two identical arms show, in the metric's unit.

    Args:
        runs: in both arms.
        sd: between seeds within an arm, pooled over both; `sd_low`, `sd_high` are the ends of its interval.
        compared: the arms with each other; its `spread` is that of the pairs.
        difference: that is to be seen.
        seeds: of each arm, for `difference` to be called in a share `POWER` of studies, by the two-sided
            paired t test at the level of the first of `arms` arms in Holm's correction; None above `MOST_SEEDS`.
        seeds_low, seeds_high: the same with the ends of the interval of `sd`.
        seeds_equivalent: of each arm, for equal arms to be called equivalent within `difference` as often.
        arms: that the space compares with its reference.
    """

    runs: int
    sd: float
    sd_low: float
    sd_high: float
    compared: Comparison
    difference: float
    seeds: int | None
    seeds_low: int | None
    seeds_high: int | None
    seeds_equivalent: int | None
    arms: int


def fixed_tuning(space: Space, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A value for each tuned parameter of the reference arm: `given`, else the middle of its range.

    Of a logarithmic range that is the geometric mean; of a list the middle value, the first of two.

    Raises:
        InputError: a parameter of `given` is not tuned in the reference arm.
    """
    arm = space.arms[space.reference_arms[0]]
    for key in given:
        if key not in arm.tuned:
            raise InputError(f"--set {key}: is not tuned in the reference arm, {arm.label}")
    return {name: given.get(name, _middle(space.tuned[name])) for name in arm.tuned}


def noise_source(space: Space, seeds: int, tuning: Mapping[str, Scalar]) -> dict[str, Any]:
    """The search space of the study that measures the noise, as `karat.space.reader.space_of` reads it.

    Its reference is the (first) reference of `space`; both arms are trained as long as the longest
    confirmation, with `seeds` seeds each, after one trial of each that the plan needs to choose its cells.
    """
    arm = space.arms[space.reference_arms[0]]
    confirm, search = space.confirm, space.search
    sections = {name: _plain(values) for name, values in arm.config(tuning).items()}
    source: dict[str, Any] = {
        "study": f"{space.name[: _NAME - len(SUFFIX)]}{SUFFIX}",
        "question": f"How much do runs of {arm.label} differ that differ in their random numbers alone?",
        "seed": space.seed,
        **{name: sections[name] for name in SECTIONS},
        "reference": {_REPLICATE: 0},
        "factors": {_REPLICATE: [0, 1]},
        "tuned": {},
        "search": {
            "sampler": "random",
            "trials": 2,
            "metric": search.metric,
            "mode": search.mode,
        },
        "early_stopping": {"scheduler": "none"},
        "confirm": {
            "by": "arm",
            "seeds": seeds,
            "budgets": [max(confirm.budgets)],
            "smallest_difference": confirm.smallest_difference,
            "alpha": confirm.alpha,
        },
    }
    if confirm.weights != WEIGHTS:
        source["confirm"]["weights"] = confirm.weights
    for key in ("resources", "budget", "tracking", "cluster"):
        if key in space.source:
            source[key] = space.source[key]
    return source


def noise_of(summary: Summary, space: Space, difference: float) -> Noise:
    """What a study of `noise_source` shows.

    Args:
        summary: of the completed study.
        space: whose noise it is.
        difference: to be seen, in the metric's unit; above 0.

    Raises:
        InputError: fewer than two runs of an arm are complete, or all runs are equal.
    """
    samples = [arm.test for arm in summary.arms]
    found = next((arm.comparison for arm in summary.others), None)
    if len(samples) < 2 or found is None or any(each.sd is None for each in samples):
        raise InputError(f"{summary.name}: an arm has fewer than two completed runs")
    free = sum(each.n - 1 for each in samples)
    squares = sum((each.n - 1) * each.sd**2 for each in samples if each.sd is not None)
    sd = math.sqrt(squares / free)
    if not sd > 0:
        raise InputError(
            f"{summary.name}: all runs of an arm are equal, so that no noise can be measured"
        )
    low, high = _interval_of_sd(sd, free, summary.rule.alpha)
    arms, alpha = len(space.references), summary.rule.alpha
    seeds = [
        _least(lambda n, each=each: power(difference / each, n, alpha / arms))
        for each in (math.sqrt(2) * value for value in (sd, low, high))
    ]
    spread = math.sqrt(2) * sd
    return Noise(
        runs=sum(each.n for each in samples),
        sd=sd,
        sd_low=low,
        sd_high=high,
        compared=found,
        difference=difference,
        seeds=seeds[0],
        seeds_low=seeds[1],
        seeds_high=seeds[2],
        seeds_equivalent=_least(lambda n: chance_of_equivalence(n, difference / spread, alpha)),
        arms=arms,
    )


def difference_of(points: float | None, space: Space) -> float:
    """A difference as `--difference` gives it, in points for an accuracy, in the metric's unit.

    Raises:
        InputError: it is not above 0, or no difference of an accuracy.
    """
    if points is None:
        return space.confirm.smallest_difference
    is_share = Metric(name=space.search.metric, mode=space.search.mode).is_share
    if not 0 < points < (100 if is_share else math.inf):
        unit = "points of accuracy, above 0 and below 100" if is_share else "above 0"
        raise InputError(f"--difference {points:g}: must be {unit}")
    return points / 100 if is_share else points


def _middle(tuned: Tuned) -> Scalar:
    if tuned.values is not None:
        return tuned.values[(len(tuned.values) - 1) // 2]
    assert tuned.low is not None
    assert tuned.high is not None
    middle = (
        math.sqrt(tuned.low * tuned.high) if tuned.log else tuned.low + (tuned.high - tuned.low) / 2
    )
    if isinstance(tuned.low, int) and isinstance(tuned.high, int):
        return round(middle)
    return float(f"{middle:.3g}")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in values.items()}


def _interval_of_sd(sd: float, free: int, alpha: float) -> tuple[float, float]:
    """The interval of a standard deviation of normal values with `free` degrees of freedom (chi-square)."""
    from scipy import special

    ends = (2 * special.gammaincinv(free / 2, p) for p in (1 - alpha / 2, alpha / 2))
    low, high = (sd * math.sqrt(free / end) for end in ends)
    return float(low), float(high)


def _least(chance: Any) -> int | None:
    """The smallest number of seeds, from 2, with at least this chance; None above `MOST_SEEDS`."""
    low, high = 1, 2
    while chance(high) < POWER:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if chance(middle) < POWER else (low, middle)
    return high
