"""How small a p must be where it is looked at again and again, as seeds are added: a group-sequential test.

The paired t test is looked at after fixed numbers of seeds, of which the last is a maximum. To look K
times at alpha makes more than alpha of the true null hypotheses look false. So every look has the same
smaller level p*, such that alpha of them are below it at *any* look: a constant nominal level (Pocock
1977, Biometrika 64:191), for t tests (Jennison & Turnbull 2000, Group Sequential Methods, chapter 4).

The t statistics at all looks together do not depend on mean or variance of the differences under the null
hypothesis. With F the distribution of the lowest two-sided p over *all* looks,

* F(lowest p so far) is a p value whatever makes the additions stop, since the lowest p so far is never
  below the lowest over all looks; Holm's correction works on it as on any other;
* the intervals at level p* = F^-1(alpha) hold at all looks at once with chance 1 - alpha: repeated
  confidence intervals (Jennison & Turnbull 1989, J. Royal Statistical Society B 51:305).

F is found by simulation with a fixed seed. Differences are taken to be normal, as in any t test. Where runs
fail, looks have fewer pairs than planned; F stays that of the planned looks.

Alternatives that need no maximum hold at every n without end (e-processes for t tests, arXiv 2310.03722).
They pay for all looks that never come: with a maximum known in advance, the same seeds find smaller
differences.
"""

import functools
from collections.abc import Sequence

import numpy as np

from karat.statistics.samples import Array

PATHS = 200_000  # the level for alpha = 5 % has a standard error of about 1 % of itself


@functools.cache
def lowest_p(looks: tuple[int, ...]) -> Array:
    """The lowest two-sided p over all looks, under the null hypothesis, sorted: [PATHS].

    The seeds between two looks are drawn as what a t test takes of them: their mean is N(0, 1/m), and
    m - 1 degrees of freedom of their squares are chi-squared, independently. So time and memory do not
    depend on the number of seeds.

    Args:
        looks: seeds at each look, increasing, from 2.
    """
    from scipy import special

    rng = np.random.default_rng(0)
    n, mean, squares = 0, np.zeros(PATHS), np.zeros(PATHS)
    lowest = np.ones(PATHS)
    for look in looks:
        m = look - n
        new = rng.standard_normal(PATHS) / np.sqrt(m)
        squares += (new - mean) ** 2 * (n * m / look)  # of pooled groups
        if m > 1:
            squares += rng.chisquare(m - 1, PATHS)
        mean += (new - mean) * (m / look)
        n = look
        t = np.abs(mean) * np.sqrt(n * (n - 1) / squares)
        np.minimum(lowest, 2 * special.stdtr(n - 1, -t), out=lowest)
    lowest.sort()
    lowest.setflags(write=False)
    return lowest


def overall_p(lowest: Array, looks: tuple[int, ...]) -> Array:
    """F: p of a test that is looked at more than once, for its lowest nominal p so far; any shape.

    Never below what the simulation can tell, or K times `lowest` (Bonferroni), whichever is less.
    """
    if len(looks) <= 1:
        return lowest
    below = np.searchsorted(lowest_p(looks), lowest, side="right")
    return np.minimum((below + 1) / (PATHS + 1), np.minimum(1.0, len(looks) * lowest))


def nominal_level(alpha: float, looks: tuple[int, ...]) -> float:
    """p* = F^-1(alpha): what p must be below at a look, and 1 minus the level of its interval."""
    if len(looks) <= 1:
        return alpha
    place = int(alpha * (PATHS + 1)) - 1
    simulated = float(lowest_p(looks)[place]) if place >= 0 else 0.0
    return max(simulated, alpha / len(looks))


def looks_at(first: int, most: int, step: int) -> tuple[int, ...]:
    """Seeds at each look: `first`, then `step` more at a time; at the last one exactly `most`."""
    return (*range(first, most, step), most)


def taken(indices: Sequence[int], looks: tuple[int, ...]) -> list[int]:
    """How many pairs each look had so far, increasing: a look without a new pair is none.

    Args:
        indices: of the seeds that both arms have completed, sorted; index i belongs to the first look of
            more than i seeds.
        looks: as planned; without any there is one, at all seeds.
    """
    if not looks:
        return [len(indices)]
    counts = (int(np.searchsorted(indices, look)) for look in looks)
    return [n for n in dict.fromkeys(counts) if n > 0] or [0]
