"""Whether more seeds could still settle a comparison: the chance of a verdict at the maximum.

With m of at most M pairs, whose differences have mean d and standard deviation s, the mean of all M is
predicted as normal around d with variance s^2 (1/m - 1/M): a flat prior on the true mean, s taken as
known (predictive power: Spiegelhalter, Freedman & Blackburn 1986, Controlled Clinical Trials 7:8). A
verdict is then reached if that mean is further from zero than the half width of its interval (a
difference), or nearer than the smallest difference of interest less that half width (equivalence).

The rule is not binding: an arm that goes on although it is futile makes no false verdict more likely.
"""

import math
from statistics import NormalDist

from karat.statistics.comparison import Comparison, Rule, Why

FUTILE = 0.05  # below this chance of a verdict no seeds are added
_NORMAL = NormalDist()


def is_futile(found: Comparison, rule: Rule, seeds: int) -> bool:
    """Whether an inconclusive comparison is given up before its maximum of seeds.

    Args:
        found: so far.
        rule: with looks.
        seeds: of the arm so far, failed runs included.
    """
    if found.verdict != "inconclusive" or seeds >= rule.looks[-1]:
        return False
    return chance_of_verdict(found, rule, seeds) < FUTILE


def chance_of_verdict(found: Comparison, rule: Rule, seeds: int) -> float:
    """The predicted chance of a verdict at the last look, from 0 to 1; the arguments as in `is_futile`.

    Where runs failed, a verdict must be reached without them and with them, so that the lower chance
    counts; it is 0 where failed runs have no value.
    """
    if found.why is Why.FAILED_RUNS and found.with_failures is None:
        return 0.0
    counted = found if found.with_failures is None else found.with_failures
    return min(_chance(found, rule, seeds), _chance(counted, rule, seeds))


def _chance(found: Comparison, rule: Rule, seeds: int) -> float:
    if found.verdict != "inconclusive":
        return 1.0
    # Runs may fail as often in the seeds to come.
    most = int(rule.looks[-1] * found.n / seeds)
    if most < 2:
        return 0.0
    if found.difference is None or not found.spread or found.why is Why.SAME_DIFFERENCE:
        return 1.0  # without a variance nothing speaks against it
    from scipy import special

    half = float(special.stdtrit(most - 1, 1 - rule.level / 2)) * found.spread / math.sqrt(most)
    sd = found.spread * math.sqrt(max(1 / found.n - 1 / most, 1e-12))

    def inside(bound: float) -> float:
        assert found.difference is not None
        if bound <= 0:
            return 0.0
        return _NORMAL.cdf((bound - found.difference) / sd) - _NORMAL.cdf(
            (-bound - found.difference) / sd
        )

    equivalent, zero = inside(rule.smallest_difference - half), inside(half)
    return min(1.0, 1 - zero + min(equivalent, zero))
