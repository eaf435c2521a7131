"""What a confirmation can see before it runs: differences, and equality, in the spread of paired differences.

The spread is the standard deviation of an arm's difference to its reference from seed to seed. Everything
here holds for normal differences: under a true difference of `effect` spreads the paired t statistic of n
seeds is noncentral t with n - 1 degrees of freedom and noncentrality effect * sqrt(n) (Cohen 1988,
Statistical Power Analysis, chapter 2; `statsmodels.stats.power.TTestPower` is the same). Mean and observed
standard deviation are independent, so that chances are means over quantiles of the latter: scipy's noncentral t
gives NaN, or does not return, for few pairs at a small alpha, and `scipy.stats` would load torch into a plan.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from karat.statistics.comparison import Comparison
from karat.statistics.samples import Array
from karat.statistics.sequential import nominal_level

POWER = 0.8
MOST_PAIRS = 1000
_QUANTILES, _EXACT = 4000, 1e-5


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


class Spread(NamedTuple):
    """Of paired differences: standard deviation in the metric's unit, and the number of pairs and arms it is from."""

    sd: float
    pairs: int
    arms: int


def pooled_spread(found: Iterable[Comparison]) -> Spread | None:
    """The spread of paired differences, pooled over arms; None before two pairs, or where none varies."""
    known = [(each.spread, each.n) for each in found if each.spread is not None]
    freedom = sum(n - 1 for _, n in known)
    squares = sum((n - 1) * sd * sd for sd, n in known)
    if not squares > 0:
        return None
    return Spread(math.sqrt(squares / freedom), sum(n for _, n in known), len(known))


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
    """Chance that the two-sided paired t test of n pairs is below alpha at a true effect in spreads."""
    from scipy import special

    bound = special.stdtrit(n - 1, 1 - alpha / 2) * _observed(n)
    shift = effect * math.sqrt(n)
    return float(np.mean(special.ndtr(shift - bound) + special.ndtr(-shift - bound)))


def detectable(n: int, alpha: float, chance: float = POWER) -> float:
    """The effect, in spreads, that n pairs find at this alpha with this chance: the inverse of `power`."""
    low, high = 0.0, 1.0
    while power(high, n, alpha) < chance:
        low, high = high, 2 * high
    while high - low > _EXACT * high:
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, n, alpha) < chance else (low, middle)
    return high


def pairs_needed(effect: float, alpha: float, chance: float = POWER) -> int | None:
    """The fewest pairs that find an effect, in spreads, at this alpha with this chance; None above `MOST_PAIRS`."""
    low, high = 1, 2
    while power(effect, high, alpha) < chance:
        if high == MOST_PAIRS:
            return None
        low, high = high, min(2 * high, MOST_PAIRS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(effect, middle, alpha) < chance else (low, middle)
    return high


def chance_of_equivalence(n: int, smallest: float, level: float) -> float:
    """Chance that the (1 - level) interval of n pairs of truly equal arms lies within plus or minus `smallest`.

    Args:
        n: pairs, from 2.
        smallest: the smallest difference of interest, in spreads.
        level: of the interval.
    """
    from scipy import special

    half = special.stdtrit(n - 1, 1 - level / 2) / math.sqrt(n) * _observed(n)
    room = np.maximum(smallest - half, 0.0) * math.sqrt(n)
    return float(np.mean(2 * special.ndtr(room) - 1))


def _observed(n: int) -> Array:
    """Observed standard deviations of n normal values of sd 1, each as likely as the others."""
    from scipy import special

    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return np.asarray(np.sqrt(2 * special.gammaincinv((n - 1) / 2, shares) / (n - 1)))
