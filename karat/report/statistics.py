"""Which arm is better, by how much, and whether that is settled: comparisons paired by seed.

Every function is pure. A run's value is in the metric's own unit (accuracy from 0 to 1). Runs
of an arm are a mapping from seed index to value, since runs with the same seed index share data
order, augmentation and initial weights, and are compared with each other.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]
Runs = Mapping[int, float]
Array = npt.NDArray[np.float64]
SAME = 1e-9  # differences that agree to this share of the values are rounding, not variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is called a difference; fixed before a study starts.

    Args:
        mode: `max`, greater is better, or `min`.
        smallest_difference: above 0, in the metric's unit; below it nobody cares.
        alpha: from 0 to 0.5: family-wise error rate of `better` and `worse` (Holm); intervals
            are at 1 - alpha, each for itself.
    """

    mode: Literal["max", "min"]
    smallest_difference: float
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Runs of one arm: mean, standard deviation (n - 1), interval of the mean (Student's t).

    What too few runs cannot give is None: everything at n = 0, all but the mean at n = 1.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


class Why(StrEnum):
    """Why a verdict is what it is; `compare` says it at length."""

    TOO_FEW_SEEDS = "too_few_seeds"
    SAME_DIFFERENCE = "same_difference"  # for every seed, so that there is no t test
    WITHIN_SMALLEST_DIFFERENCE = "within_smallest_difference"
    P_BELOW_ALPHA = "p_below_alpha"
    P_NOT_BELOW_ALPHA = "p_not_below_alpha"
    ONLY_UNADJUSTED_P_BELOW_ALPHA = "only_unadjusted_p_below_alpha"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One arm against another, over the seeds that both have completed.

    Args:
        arm, against: labels.
        n: number of pairs.
        mean, sd: of the arm's runs in these pairs.
        difference: mean of arm minus against; None without pairs.
        low, high: its interval at 1 - alpha; None where it is not defined.
        p: of the paired t test, two-sided; None where it is not defined.
        p_holm: p after Holm's correction over the family.
        variance_cut: 1 - var(difference) / (var(arm) + var(against)): 0 is what independent
            runs would give, 1 perfect pairing, below 0 means that pairing did harm; None where
            neither arm varies or n < 2.
        verdict: see `compare`.
        why: the verdict is this one; None before there is one.
    """

    arm: str
    against: str
    n: int
    mean: float | None = None
    sd: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    variance_cut: float | None = None
    verdict: Verdict = "inconclusive"
    why: Why | None = None


def describe(values: Sequence[float], alpha: float) -> Sample:
    """Mean, standard deviation and (1 - alpha) interval of the mean.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    from scipy import stats

    _refuse_non_finite(values)
    n = len(values)
    if n == 0:
        return Sample(n=0)
    mean = float(np.mean(values))
    if n == 1:
        return Sample(n=1, mean=mean)
    sd = float(np.std(values, ddof=1))
    if _all_same(values, values):
        return Sample(n=n, mean=mean, sd=0.0, low=mean, high=mean)
    low, high = stats.t.interval(1 - alpha, n - 1, loc=mean, scale=stats.sem(values))
    return Sample(n=n, mean=mean, sd=sd, low=float(low), high=float(high))


def compare(
    runs: Mapping[str, Runs], against: Mapping[str, str], rule: Rule
) -> dict[str, Comparison]:
    """Every arm against its reference, with a verdict; all these are the family of the correction.

    * `equivalent`: the (1 - alpha) interval of the paired difference lies inside plus or minus
      `smallest_difference`, even where the difference is not zero beyond doubt: nobody cares.
    * `better`, `worse`: otherwise, and the Holm-adjusted p of the paired t test is below alpha.
    * `inconclusive`: neither, or the test is not defined: fewer than two pairs, or differences
      without variance (a t test would call any such difference, however few its seeds). An arm
      whose test is not defined stays in the family, with p = 1.

    Source: paired t test and its interval, `scipy.stats.ttest_rel`; Holm 1979 (Scandinavian
    Journal of Statistics 6:65), `statsmodels.stats.multitest.multipletests`; equivalence by
    interval inclusion, Schuirmann 1987 (J. Pharmacokinetics and Biopharmaceutics 15:657).
    Departure: two one-sided tests at level alpha compare with the (1 - 2 alpha) interval; we
    take the (1 - alpha) interval, which is the one that is shown. So the reader can check the
    verdict, and each equivalence is called at alpha / 2, without a correction over the arms.

    Args:
        runs: of arms and references, by label.
        against: label of each arm that is compared, to that of its reference; a reference
            without runs need not be in `runs`.
        rule: what is called a difference.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    pairs = [
        _Pair(arm, runs[arm], reference, runs.get(reference, {}))
        for arm, reference in against.items()
    ]
    return {found.arm: found for found in _judge(_compared(pairs, rule), rule)}


def pairwise(arms: Mapping[str, Runs], rule: Rule) -> tuple[Comparison, ...]:
    """Every arm against every arm before it, as in `compare`; all pairs are one family.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    both = itertools.combinations(arms.items(), 2)
    pairs = [_Pair(b, of_b, a, of_a) for (a, of_a), (b, of_b) in both]
    return tuple(_judge(_compared(pairs, rule), rule))


def turned(found: Comparison) -> Comparison:
    """The same comparison seen from the other arm; `mean` and `sd`, which are one arm's, are dropped."""
    other: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}

    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    return replace(
        found,
        arm=found.against,
        against=found.arm,
        mean=None,
        sd=None,
        difference=negative(found.difference),
        low=negative(found.high),
        high=negative(found.low),
        verdict=other.get(found.verdict, found.verdict),
    )


def pooled_variance_cut(pairs: Iterable[tuple[Runs, Runs]]) -> float | None:
    """`Comparison.variance_cut` over all pairs of arms together: sums of variances in place of each.

    None where no two arms share two seeds or nothing varies.
    """
    of_differences = of_values = 0.0
    for runs, reference in pairs:
        ours, theirs = _shared(runs, reference)
        if len(ours) >= 2:
            of_differences += float(np.var(ours - theirs, ddof=1))
            of_values += float(np.var(ours, ddof=1) + np.var(theirs, ddof=1))
    return 1 - of_differences / of_values if of_values > 0 else None


class _Pair(NamedTuple):
    """An arm, its runs, the arm that it is compared with, and the runs of that one."""

    arm: str
    runs: Runs
    against: str
    base: Runs


def _compared(pairs: Sequence[_Pair], rule: Rule) -> list[Comparison]:
    """The comparisons in the order of `pairs`, without verdicts.

    All pairs of the same number of seeds are tested in one call of scipy: 200 arms are 19,900 pairs,
    and each call takes most of a millisecond, however few the values.
    """
    found = [_described(pair) for pair in pairs]
    tested: dict[int, list[int]] = {}
    for place, each in enumerate(found):
        if each.why is None:
            tested.setdefault(each.n, []).append(place)
    for places in tested.values():
        values = [_shared(pairs[place].runs, pairs[place].base) for place in places]
        for place, tested_pair in zip(places, _tests(values, rule), strict=True):
            low, high, p = tested_pair
            found[place] = replace(found[place], low=low, high=high, p=p)
    return found


def _tests(
    values: Sequence[tuple[Array, Array]], rule: Rule
) -> Iterator[tuple[float, float, float]]:
    """Interval and p of the paired t test for each two arrays [n]; n is the same for all."""
    from scipy import stats

    ours, theirs = (np.stack(each) for each in zip(*values, strict=True))
    test = stats.ttest_rel(ours, theirs, axis=1)
    interval = test.confidence_interval(1 - rule.alpha)
    for low, high, p in zip(interval.low, interval.high, test.pvalue, strict=True):
        yield float(low), float(high), float(p)


def _described(pair: _Pair) -> Comparison:
    """What is known of a pair without a test; `why` is None where a test is defined."""
    _refuse_non_finite([*pair.runs.values(), *pair.base.values()])
    ours, theirs = _shared(pair.runs, pair.base)
    n = len(ours)
    if n < 2:
        too_few = Comparison(arm=pair.arm, against=pair.against, n=n, why=Why.TOO_FEW_SEEDS)
        if n == 0:
            return too_few
        mean, difference = float(ours[0]), float(ours[0] - theirs[0])
        return replace(too_few, mean=mean, difference=difference)
    found = Comparison(
        arm=pair.arm,
        against=pair.against,
        n=n,
        mean=float(np.mean(ours)),
        sd=float(np.std(ours, ddof=1)),
        difference=float(np.mean(ours - theirs)),
        variance_cut=pooled_variance_cut([(pair.runs, pair.base)]),
    )
    if _all_same(ours - theirs, np.concatenate([ours, theirs])):
        return replace(found, why=Why.SAME_DIFFERENCE)
    return found


def _judge(found: Sequence[Comparison], rule: Rule) -> list[Comparison]:
    """Holm's correction over `found`, then the verdicts."""
    if not found:
        return []
    from statsmodels.stats.multitest import multipletests

    p_values = [1.0 if each.p is None else each.p for each in found]
    adjusted = multipletests(p_values, alpha=rule.alpha, method="holm")[1]
    return [
        _verdict(replace(each, p_holm=None if each.p is None else float(p)), rule)
        for each, p in zip(found, adjusted, strict=True)
    ]


def _verdict(found: Comparison, rule: Rule) -> Comparison:
    low, high, difference = found.low, found.high, found.difference
    if low is None or high is None or difference is None or found.p is None:
        return found
    assert found.p_holm is not None
    if -rule.smallest_difference < low and high < rule.smallest_difference:
        return replace(found, verdict="equivalent", why=Why.WITHIN_SMALLEST_DIFFERENCE)
    if found.p_holm < rule.alpha:
        gain = difference if rule.mode == "max" else -difference
        verdict: Verdict = "better" if gain > 0 else "worse"
        return replace(found, verdict=verdict, why=Why.P_BELOW_ALPHA)
    is_below_alone = found.p < rule.alpha
    why = Why.ONLY_UNADJUSTED_P_BELOW_ALPHA if is_below_alone else Why.P_NOT_BELOW_ALPHA
    return replace(found, verdict="inconclusive", why=why)


def _shared(runs: Runs, base: Runs) -> tuple[Array, Array]:
    """The values of both, in the order of the seed indices that both have; two arrays [n]."""
    shared = sorted(set(runs) & set(base))
    return (
        np.array([runs[index] for index in shared], dtype=float),
        np.array([base[index] for index in shared], dtype=float),
    )


def _all_same(values: Sequence[float] | Array, of: Sequence[float] | Array) -> bool:
    """Whether `values` differ by no more than rounding, as seen from the size of `of`."""
    return float(np.ptp(values)) <= SAME * float(np.max(np.abs(of)))


def _refuse_non_finite(values: Sequence[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"runs must have finite values, not {value}")
