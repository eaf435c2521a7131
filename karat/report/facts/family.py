"""Tests over more than two arms at once: does anything differ at all, and does it differ by a factor?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from karat.parameters import Level
from karat.report.facts.confirmed import ConfirmedArm
from karat.statistics.correction import holm
from karat.statistics.samples import Runs, all_same, grouped

LEAST_ARMS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTest:
    """Friedman's test over arms that share seeds (Friedman 1937, JASA 32:675).

    Args:
        arms, n: number of arms, and of seeds (or tunings) that all of them share.
        p: that the ranks of the arms within a seed are by chance.
    """

    arms: int
    n: int
    p: float


def family_test(runs: Mapping[str, Runs], tunings: int) -> FamilyTest | None:
    """Whether the arms differ at all; None below three arms or two shared seeds, or if nothing varies.

    Args:
        runs: seed index to test value, of each arm.
        tunings: as `Rule.tunings`: the seeds of one are averaged first.
    """
    from scipy import stats

    known = [of for of in runs.values() if of]
    if len(known) < LEAST_ARMS:
        return None
    values = grouped(known, tunings)
    n, every = len(values[0]), np.concatenate(values)
    if n < 2 or all_same(every, every):
        return None
    found = stats.friedmanchisquare(*values)
    return FamilyTest(arms=len(known), n=n, p=float(found.pvalue))


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorTest:
    """Friedman's test over the levels of one factor.

    Args:
        factor: its full name.
        levels: number of levels.
        arms: number of arms that a level is the mean of.
        n: number of seeds (or tunings) that all of them share.
        p: that the ranks of the levels within a seed are by chance.
        p_holm: after Holm's correction over the factors of the study.
    """

    factor: str
    levels: int
    arms: int
    n: int
    p: float
    p_holm: float


def factor_tests(arms: Sequence[ConfirmedArm], seeds: int, tunings: int) -> tuple[FactorTest, ...]:
    """The factors of a study with several, of which each level differs from the others in nothing else.

    The value of a level for a seed is the mean over the arms that have it, of those combinations of the other
    factors that exist with every level. Two levels have the comparison of their arms, or the interactions.

    Args:
        arms: the confirmed arms.
        seeds: the number that every arm has, whatever was found in it.
        tunings: as `Rule.tunings`.
    """
    known = [arm for arm in arms if arm.runs]
    factors = dict.fromkeys(key for arm in known for key in arm.factors)
    if len(factors) < 2:
        return ()  # it is the test over all arms
    found = []
    for factor in factors:
        levels = _levels_of(factor, known)
        runs = {
            repr(level): _mean_runs([arm.runs for arm in of_level], seeds)
            for level, of_level in levels.items()
        }
        test = family_test(runs, tunings)
        if test is not None and len(runs) == test.arms:
            count = max(map(len, levels.values()))
            found.append((factor, count, test))
    adjusted = holm([test.p for _, _, test in found]) if found else []
    return tuple(
        FactorTest(factor=factor, levels=test.arms, arms=count, n=test.n, p=test.p, p_holm=p)
        for (factor, count, test), p in zip(found, adjusted, strict=True)
    )


def _levels_of(factor: str, arms: Iterable[ConfirmedArm]) -> dict[Level, list[ConfirmedArm]]:
    """The arms of each level, in the combinations of the other factors that all levels have."""
    by_level: dict[Level, list[ConfirmedArm]] = {}
    for arm in arms:
        if factor in arm.factors:
            by_level.setdefault(arm.factors[factor], []).append(arm)
    # A factor that some arm does not have, since it depends on a level, tells no combinations apart.
    having = [arm for of_level in by_level.values() for arm in of_level]
    shared = set.intersection(*(set(arm.factors) for arm in having)) - {factor}

    def combination(arm: ConfirmedArm) -> str:
        return repr([(key, arm.factors[key]) for key in sorted(shared)])

    common = set.intersection(*({*map(combination, of)} for of in by_level.values()))
    return {
        level: [arm for arm in of_level if combination(arm) in common]
        for level, of_level in by_level.items()
    }


def _mean_runs(runs: Sequence[Runs], seeds: int) -> Runs:
    """Mean over arms at each seed that all of them have."""
    if not runs:
        return {}
    indices = set.intersection(*map(set, runs))
    return {i: float(np.mean([of[i] for of in runs])) for i in sorted(indices) if i < seeds}
