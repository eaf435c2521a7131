"""Runs of one arm, and what can be said of numbers before anything is compared.

Every function is pure. A run's value is in the metric's own unit (accuracy from 0 to 1). Runs
of an arm are a mapping from seed index to value, since runs with the same seed index share data
order, augmentation and initial weights, and are compared with each other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Runs = Mapping[int, float]
Array = npt.NDArray[np.float64]
MOST_FLIPPED, FLIPS = 12, 20_000  # for the sign-flip test
SAME = 1e-9  # differences that agree to this share of the values are rounding, not variance


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


def describe(values: Sequence[float], alpha: float) -> Sample:
    """Mean, standard deviation and (1 - alpha) interval of the mean.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    from scipy import stats

    refuse_non_finite(values)
    n = len(values)
    if n == 0:
        return Sample(n=0)
    mean = float(np.mean(values))
    if n == 1:
        return Sample(n=1, mean=mean)
    sd = float(np.std(values, ddof=1))
    if all_same(values, values):
        return Sample(n=n, mean=mean, sd=0.0, low=mean, high=mean)
    low, high = stats.t.interval(1 - alpha, n - 1, loc=mean, scale=stats.sem(values))
    return Sample(n=n, mean=mean, sd=sd, low=float(low), high=float(high))


def values_of(runs: Runs, tunings: int) -> list[float]:
    """The values that count once each: of runs, or with several tunings the mean of each tuning's runs."""
    ours, _ = paired(runs, runs, tunings)
    return [float(value) for value in ours]


def paired(runs: Runs, base: Runs, tunings: int) -> tuple[Array, Array]:
    """The values of both, in the order of the seed indices that both have; two arrays [n].

    With several tunings those of one are averaged, and n is the number of tunings.
    """
    ours, theirs = grouped([runs, base], tunings)
    return ours, theirs


def grouped(arms: Sequence[Runs], tunings: int) -> list[Array]:
    """The values of several arms at the seed indices that all have, as `paired` gives them: [n] each."""
    shared = sorted(set.intersection(*map(set, arms)))
    if tunings == 1:
        return [np.array([of[i] for i in shared], np.float64) for of in arms]
    groups = [[i for i in shared if i % tunings == tuning] for tuning in range(tunings)]
    return [
        np.array([float(np.mean([of[i] for i in group])) for group in groups if group])
        for of in arms
    ]


def mean_bound(values: Sequence[float], confidence: float = 0.95) -> float:
    """One-sided lower bound of the mean of at least two values (Student's t)."""
    from scipy import stats

    if all_same(values, values):
        return float(np.mean(values))
    return float(np.mean(values) - stats.t.ppf(confidence, len(values) - 1) * stats.sem(values))


def rate_interval(count: int, n: int, alpha: float) -> tuple[float, float]:
    """Exact (1 - alpha) interval of a rate (Clopper & Pearson 1934, Biometrika 26:404); n >= 1."""
    from scipy import stats

    found = stats.binomtest(count, n).proportion_ci(1 - alpha, method="exact")
    return float(found.low), float(found.high)


def sign_flip_p(differences: Array) -> Array:
    """Two-sided p of the sign-flip permutation test of the mean, for each row of [pairs, n].

    Exact up to n = `MOST_FLIPPED`, where all 2^n signs are gone through; above that, of
    `FLIPS` random ones. Source: Fisher's randomisation test; `scipy.stats.permutation_test` with
    `permutation_type="samples"` does the same for one row, in a hundred times the time.
    """
    n = differences.shape[1]
    if n <= MOST_FLIPPED:
        signs = 1 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(FLIPS, n))
        signs[0] = 1.0  # the data themselves are one of the permutations
    means = np.abs(differences @ signs.T)
    observed = np.abs(differences.sum(axis=1))[:, None]
    p: Array = (means >= observed * (1 - SAME)).mean(axis=1)
    return p


def all_same(values: Sequence[float] | Array, of: Sequence[float] | Array) -> bool:
    """Whether `values` differ by no more than rounding, as seen from the size of `of`."""
    return float(np.ptp(values)) <= SAME * float(np.max(np.abs(of)))


def refuse_non_finite(values: Sequence[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"runs must have finite values, not {value}")
