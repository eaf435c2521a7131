"""What a confirmation can see before it runs: differences, and equality, in the spread of paired differences.

The spread is the standard deviation of an arm's difference to its reference from seed to seed. Everything
here is exact for normal differences: under a true difference of `effect` spreads the paired t statistic
of n seeds is noncentral t with n - 1 degrees of freedom and noncentrality effect * sqrt(n) (Cohen 1988,
Statistical Power Analysis, chapter 2; `statsmodels.stats.power.TTestPower` is the same).
Of scipy only what a plan may load: `scipy.stats` loads torch.
"""

import math
from dataclasses import dataclass

from karat.statistics.sequential import nominal_level

POWER = 0.8
_FAR = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a number of seeds can see.

    Args:
        seeds: of each arm; where seeds may be added, the most.
        effect: true difference that is called in a share `POWER` of studies, in spreads. It holds for the
            first arm that Holm's correction judges, so that it is the worst case; and for the last look
            alone, so that earlier ones can only find more.
        equivalent: share of truly equal arms whose interval at the last look is within the smallest
            difference.
        spread: of the paired differences, in the metric's unit, on which `equivalent` depends.
    """

    seeds: int
    effect: float
    equivalent: float
    spread: float

    @property
    def difference(self) -> float:
        """`effect` in the metric's unit."""
        return self.effect * self.spread


def sight(
    *,
    seeds: int,
    looks: tuple[int, ...],
    arms: int,
    alpha: float,
    smallest_difference: float,
    spread: float,
) -> Sight:
    """What a confirmation can see.

    Args:
        seeds: of each arm, at most; from 2.
        looks: seeds at each look; empty where their number is fixed.
        arms: that are compared with a reference; from 1.
        alpha: of the family.
        smallest_difference, spread: in the metric's unit, above 0.
    """
    return Sight(
        seeds=seeds,
        effect=detectable(seeds, nominal_level(alpha / arms, looks)),
        equivalent=chance_of_equivalence(
            seeds, smallest_difference / spread, nominal_level(alpha, looks)
        ),
        spread=spread,
    )


def power(effect: float, n: int, alpha: float) -> float:
    """Chance that the two-sided paired t test of n pairs is below alpha at a true effect in spreads, from 0."""
    from scipy import special

    bound = -special.stdtrit(n - 1, alpha / 2)
    shift = effect * math.sqrt(n)
    # The wrong side has less than the normal tail below -shift, 4e-5 at 4, where scipy cannot tell it.
    wrong = special.nctdtr(n - 1, shift, -bound) if shift < _FAR else 0.0
    return float(1 - special.nctdtr(n - 1, shift, bound) + wrong)


def detectable(n: int, alpha: float, chance: float = POWER) -> float:
    """The effect, in spreads, that n pairs find at this alpha with this chance; the inverse of `power`."""
    from scipy import optimize

    highest = 1.0
    while power(highest, n, alpha) < chance:
        highest *= 2
    return float(optimize.brentq(lambda effect: power(effect, n, alpha) - chance, 0.0, highest))


def chance_of_equivalence(n: int, smallest: float, level: float) -> float:
    """Chance that the (1 - level) interval of n pairs of truly equal arms lies within plus or minus `smallest`.

    The mean and the standard deviation of normal differences are independent: the chance given the
    latter is integrated over its distribution.

    Args:
        n: pairs, from 2.
        smallest: the smallest difference of interest, in spreads.
        level: of the interval.
    """
    from scipy import integrate, special

    half = -special.stdtrit(n - 1, level / 2) / math.sqrt(n)  # of the interval, in observed spreads

    def given(observed: float) -> float:
        inside = 2 * special.ndtr((smallest - half * observed) * math.sqrt(n)) - 1
        return float(inside * _density_of_spread(observed, n - 1))

    # Beyond twelve spreads nothing is left of the distribution.
    return float(integrate.quad(given, 0.0, min(smallest / half, 12.0), limit=200)[0])


def _density_of_spread(observed: float, freedom: int) -> float:
    """Density of the standard deviation of a normal sample, of a true one of 1: chi over sqrt(freedom)."""
    if observed == 0.0:
        return math.sqrt(2 / math.pi) if freedom == 1 else 0.0
    logarithm = (
        (1 - freedom / 2) * math.log(2)
        - math.lgamma(freedom / 2)
        + freedom / 2 * math.log(freedom)
        + (freedom - 1) * math.log(observed)
        - freedom * observed**2 / 2
    )
    return math.exp(logarithm)
