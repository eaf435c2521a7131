"""One test over all confirmed arms at once: does anything differ at all?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

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
