"""Which arm is better, by how much, and whether that is settled: comparisons paired by seed.

Every function is pure. A run's value is in the metric's own unit (accuracy from 0 to 1). Runs
of an arm are a mapping from seed index to value, since runs with the same seed index share data
order, augmentation and initial weights, and are compared with each other.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from karat.statistics.correction import holm, shares, t_intervals
from karat.statistics.samples import (
    SAME,
    Array,
    Runs,
    all_same,
    paired,
    refuse_non_finite,
    sign_flip_p,
)
from karat.statistics.sequential import nominal_level, overall_p, taken

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]
LEAST_IDENTICAL = 5  # seeds, for arms that agree in each to be called equivalent


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is called a difference; fixed before a study starts.

    Args:
        mode: `max`, greater is better, or `min`.
        smallest_difference: above 0, in the metric's unit; below it nobody cares.
        alpha: from 0 to 0.5: family-wise error rate of `better` and `worse` (Holm); intervals
            are at 1 - alpha, each for itself.
        tunings: independent tunings of each arm. The seeds of one tuning share a cell, so that they
            are averaged first, and tunings are compared: n is their number. Seed index i belongs to
            tuning i modulo `tunings`. With 1 every seed counts for itself.
        worst: value that a failed run is given, beside the comparison without it; None where the
            metric has no worst value.
        looks: seeds of an arm at which its verdict may be looked at, where seeds are added to arms
            without one; empty where their number is fixed.
    """

    mode: Literal["max", "min"]
    smallest_difference: float
    alpha: float
    tunings: int = 1
    worst: float | None = None
    looks: tuple[int, ...] = ()

    @property
    def level(self) -> float:
        """Nominal level of each interval: alpha, or with several looks less, so that all hold at once."""
        return nominal_level(self.alpha, self.looks)


class Why(StrEnum):
    """Why a verdict is what it is; `compare` says it at length."""

    TOO_FEW_SEEDS = "too_few_seeds"
    SAME_DIFFERENCE = "same_difference"  # for every seed, so that there is no t test
    IDENTICAL = "identical"  # the same value for each of at least LEAST_IDENTICAL seeds
    FAILED_RUNS = "failed_runs"  # the verdict is another one if failed runs count
    WITHIN_SMALLEST_DIFFERENCE = "within_smallest_difference"
    P_BELOW_ALPHA = "p_below_alpha"
    P_NOT_BELOW_ALPHA = "p_not_below_alpha"
    ONLY_UNADJUSTED_P_BELOW_ALPHA = "only_unadjusted_p_below_alpha"
    ONLY_EARLIER_P_BELOW_ALPHA = "only_earlier_p_below_alpha"  # the interval now contains 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One arm against another, over the seeds that both have completed.

    Args:
        arm, against: labels.
        n: number of pairs.
        mean, sd: of the arm's runs in these pairs.
        difference: mean of arm minus against; None without pairs.
        spread: standard deviation of the paired differences; None for n < 2.
        low, high: its interval at 1 - alpha, for all looks at once; None where it is not defined.
        p: of the paired t test, two-sided; None where it is not defined.
        p_looks: the same with all looks counted (`karat.statistics.sequential`); p where there is one.
        p_holm: `p_looks` after Holm's correction over the family.
        low_holm, high_holm: the interval at the level at which Holm's correction judges this comparison: it
            excludes 0 where `p_holm` is below alpha (at the present look); None as p.
        p_flips: of the exact sign-flip permutation test of the mean difference, two-sided, which
            assumes no distribution; None as p.
        effect: the mean difference in standard deviations of the differences (Cohen's d_z); None as p.
        variance_cut: 1 - var(difference) / (var(arm) + var(against)): 0 is what independent
            runs would give, 1 perfect pairing, below 0 means that pairing did harm; None where
            neither arm varies or n < 2.
        verdict: see `compare`.
        why: the verdict is this one; None before there is one.
        with_failures: the same comparison with `Rule.worst` for each failed run; None without one.
    """

    arm: str
    against: str
    n: int
    mean: float | None = None
    sd: float | None = None
    difference: float | None = None
    spread: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_looks: float | None = None
    p_holm: float | None = None
    low_holm: float | None = None
    high_holm: float | None = None
    p_flips: float | None = None
    effect: float | None = None
    variance_cut: float | None = None
    verdict: Verdict = "inconclusive"
    why: Why | None = None
    with_failures: "Comparison | None" = None


def compare(
    runs: Mapping[str, Runs],
    against: Mapping[str, str],
    rule: Rule,
    failed: Mapping[str, Collection[int]] = MappingProxyType({}),
) -> dict[str, Comparison]:
    """Every arm against its reference, with a verdict; all these are the family of the correction.

    * `equivalent`: the (1 - alpha) interval of the paired difference lies inside plus or minus
      `smallest_difference`, even where the difference is not zero beyond doubt: nobody cares.
    * `better`, `worse`: otherwise, and the Holm-adjusted p of the paired t test is below alpha.
    * `inconclusive`: neither, or the test is not defined: fewer than two pairs, or differences
      without variance (a t test would call any such difference, however few its seeds). An arm
      whose test is not defined stays in the family, with p = 1. Arms that agree exactly in at least
      `LEAST_IDENTICAL` seeds are `equivalent`.

    With `Rule.looks` the same holds with p of all looks and the interval that holds at all looks; a
    difference must be outside its present interval, too.

    A failed run is an outcome. Where one is among the seeds of a pair, the comparison is made a
    second time with `Rule.worst` for it, and only a verdict that both give stands.

    Source: paired t test and its interval, `scipy.stats.ttest_rel`; Holm 1979 (Scandinavian
    Journal of Statistics 6:65), `karat.statistics.correction.holm`; equivalence by
    interval inclusion, Schuirmann 1987 (J. Pharmacokinetics and Biopharmaceutics 15:657).
    Departure: two one-sided tests at level alpha compare with the (1 - 2 alpha) interval; we
    take the (1 - alpha) interval, which is the one that is shown. So the reader can check the
    verdict, and each equivalence is called at alpha / 2, without a correction over the arms.

    Args:
        runs: of arms and references, by label.
        against: label of each arm that is compared, to that of its reference; a reference
            without runs need not be in `runs`.
        rule: what is called a difference.
        failed: label to the seed indices of its failed runs.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    found = _with_and_without(runs, list(against.items()), rule, failed)
    return {each.arm: each for each in found}


def _with_and_without(
    runs: Mapping[str, Runs],
    both: Sequence[tuple[str, str]],
    rule: Rule,
    failed: Mapping[str, Collection[int]],
) -> list[Comparison]:
    """Each two arms as one family; once more with failed runs as outcomes where there are any."""
    found = _family(runs, both, rule)
    if not any(failed.values()):
        return found
    again: list[Comparison | None] = [None] * len(found)
    if rule.worst is not None:
        worst = rule.worst
        labels = {label for pair in both for label in pair}
        counted = {
            label: {**dict.fromkeys(failed.get(label, ()), worst), **runs.get(label, {})}
            for label in labels
        }
        again = [*_family(counted, both, rule)]
    return [
        _with_failures(each, counts) if any(failed.get(label) for label in pair) else each
        for each, counts, pair in zip(found, again, both, strict=True)
    ]


def _family(
    runs: Mapping[str, Runs], both: Sequence[tuple[str, str]], rule: Rule
) -> list[Comparison]:
    pairs = [_Pair(a, runs.get(a, {}), b, runs.get(b, {})) for a, b in both]
    return _judge(_compared(pairs, rule), rule)


def _with_failures(found: Comparison, counted: Comparison | None) -> Comparison:
    """The comparison without failed runs, whose verdict stands if it is the same with them."""
    found = replace(found, with_failures=counted)
    if found.verdict == "inconclusive" or (counted and counted.verdict == found.verdict):
        return found
    return replace(found, verdict="inconclusive", why=Why.FAILED_RUNS)


def pairwise(
    arms: Mapping[str, Runs],
    rule: Rule,
    failed: Mapping[str, Collection[int]] = MappingProxyType({}),
) -> tuple[Comparison, ...]:
    """Every arm against every arm before it, as in `compare`; all pairs are one family.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    both = [(b, a) for a, b in itertools.combinations(arms, 2)]
    return tuple(_with_and_without(arms, both, rule, failed))


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
        effect=negative(found.effect),
        low=negative(found.high),
        high=negative(found.low),
        low_holm=negative(found.high_holm),
        high_holm=negative(found.low_holm),
        verdict=other.get(found.verdict, found.verdict),
        with_failures=None if found.with_failures is None else turned(found.with_failures),
    )


def pooled_variance_cut(pairs: Iterable[tuple[Runs, Runs]], tunings: int = 1) -> float | None:
    """`Comparison.variance_cut` over all pairs of arms together: sums of variances in place of each.

    None where no two arms share two seeds or nothing varies.
    """
    of_differences = of_values = 0.0
    for runs, reference in pairs:
        ours, theirs = paired(runs, reference, tunings)
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
    found = [_described(pair, rule.tunings) for pair in pairs]
    tested: dict[tuple[int, ...], list[int]] = {}
    for place, each in enumerate(found):
        if each.why is None:
            shared = sorted(pairs[place].runs.keys() & pairs[place].base.keys())
            counts = taken(shared, rule.looks) if rule.looks else [each.n]
            tested.setdefault((*counts,), []).append(place)
    for counts_of, places in tested.items():
        both = [paired(pairs[place].runs, pairs[place].base, rule.tunings) for place in places]
        differences = np.stack([ours - theirs for ours, theirs in both])
        least = SAME * np.array([np.max(np.abs(each)) for each in both])
        early = _lowest_p(differences, least, counts_of[:-1])
        tests = _tests(differences, early, rule)
        for place, tested_pair in zip(places, tests, strict=True):
            found[place] = replace(found[place], **tested_pair)
    return found


def _lowest_p(differences: Array, least: Array, counts: Sequence[int]) -> Array:
    """The lowest p of the paired t test over looks at the first seeds of each row, [pairs].

    Args:
        differences: [pairs, n].
        least: [pairs]; what differs by no more is rounding, and has no test.
        counts: number of pairs at each look.
    """
    from scipy import stats

    lowest = np.ones(len(differences))
    for count in counts:
        seen = differences[:, :count]
        varies = np.ptp(seen, axis=1) > least
        if count > 1 and varies.any():
            p = stats.ttest_1samp(seen[varies], 0.0, axis=1).pvalue
            lowest[varies] = np.minimum(lowest[varies], p)
    return lowest


def _tests(differences: Array, early: Array, rule: Rule) -> Iterator[dict[str, Any]]:
    """Interval, p values and effect size for each row of paired differences, [pairs, n].

    `early` is the lowest p of each row at the looks before, [pairs].
    """
    from scipy import stats

    test = stats.ttest_1samp(differences, 0.0, axis=1)
    interval = test.confidence_interval(1 - rule.level)
    of_looks = overall_p(np.minimum(early, test.pvalue), rule.looks)
    flips = sign_flip_p(differences)
    effects = differences.mean(axis=1) / differences.std(axis=1, ddof=1)
    for place in range(len(differences)):
        yield {
            "low": float(interval.low[place]),
            "high": float(interval.high[place]),
            "p": float(test.pvalue[place]),
            "p_looks": float(of_looks[place]),
            "p_flips": float(flips[place]),
            "effect": float(effects[place]),
        }


def _described(pair: _Pair, tunings: int) -> Comparison:
    """What is known of a pair without a test; `why` is None where a test is defined."""
    refuse_non_finite([*pair.runs.values(), *pair.base.values()])
    ours, theirs = paired(pair.runs, pair.base, tunings)
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
        spread=float(np.std(ours - theirs, ddof=1)),
        variance_cut=pooled_variance_cut([(pair.runs, pair.base)], tunings),
    )
    if not all_same(ours - theirs, np.concatenate([ours, theirs])):
        return found
    if n >= LEAST_IDENTICAL and np.allclose(ours, theirs, rtol=SAME, atol=0):
        return replace(found, verdict="equivalent", why=Why.IDENTICAL)
    return replace(found, why=Why.SAME_DIFFERENCE)


def _judge(found: Sequence[Comparison], rule: Rule) -> list[Comparison]:
    """Holm's correction over `found`, then the verdicts."""
    if not found:
        return []
    p_values = [1.0 if each.p_looks is None else each.p_looks for each in found]
    adjusted = holm(p_values)
    levels = [nominal_level(rule.alpha * each, rule.looks) for each in shares(p_values, adjusted)]
    intervals = t_intervals([(each.difference, each.spread, each.n) for each in found], levels)
    return [
        _verdict(replace(each, p_holm=p, low_holm=low, high_holm=high), rule)
        if each.p is not None
        else each
        for each, p, (low, high) in zip(found, adjusted, intervals, strict=True)
    ]


def _verdict(found: Comparison, rule: Rule) -> Comparison:
    low, high, difference = found.low, found.high, found.difference
    if low is None or high is None or difference is None or found.p_looks is None:
        return found
    assert found.p_holm is not None
    if -rule.smallest_difference < low and high < rule.smallest_difference:
        return replace(found, verdict="equivalent", why=Why.WITHIN_SMALLEST_DIFFERENCE)
    if found.p_holm < rule.alpha:
        if rule.looks and low <= 0 <= high:
            return replace(found, verdict="inconclusive", why=Why.ONLY_EARLIER_P_BELOW_ALPHA)
        gain = difference if rule.mode == "max" else -difference
        verdict: Verdict = "better" if gain > 0 else "worse"
        return replace(found, verdict=verdict, why=Why.P_BELOW_ALPHA)
    is_below_alone = found.p_looks < rule.alpha
    why = Why.ONLY_UNADJUSTED_P_BELOW_ALPHA if is_below_alone else Why.P_NOT_BELOW_ALPHA
    return replace(found, verdict="inconclusive", why=why)
