"""Arms over several data sets (or models): ranks with a critical difference, and a mixed model of the differences.

Here a data set is the unit, as in Demšar 2006 (Journal of Machine Learning Research 7:1): seeds tell how sure a value on one
data set is, and nothing about another data set.
"""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from karat.statistics.correction import holm

LEAST_PLACES, LEAST_ARMS = 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Friedman's test over data sets, and Nemenyi's critical difference of mean ranks.

    Args:
        places: number of data sets, each of which has all arms.
        mean: mean rank of each arm, 1 for the best; equal values share their ranks.
        p: that the ranks within a data set are by chance, by the F statistic of Iman and Davenport 1980,
            with ties corrected.
        critical: difference of two mean ranks above which Nemenyi's test tells the arms apart at `alpha`.
        alpha: of the test.
        pairs: of arms to their p by Wilcoxon's signed ranks over data sets, adjusted by Holm over the pairs; None
            where no difference of a pair is other than 0.
    """

    places: int
    mean: Mapping[str, float]
    p: float
    critical: float
    alpha: float
    pairs: Mapping[tuple[str, str], float | None]

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The largest sets of neighbours in rank that are not told apart, of at least two arms."""
        order = sorted(self.mean, key=lambda arm: self.mean[arm])
        found: list[tuple[str, ...]] = []
        for first in range(len(order)):
            last = first
            while (
                last + 1 < len(order)
                and self.mean[order[last + 1]] - self.mean[order[first]] <= self.critical
            ):
                last += 1
            group = tuple(order[first : last + 1])
            if len(group) > 1 and not (found and set(group) <= set(found[-1])):
                found.append(group)
        return found


def ranks(goodness: Mapping[str, Mapping[str, float]], alpha: float) -> Ranks | None:
    """Ranks of arms over the data sets that have all of them; None below three arms or two data sets.

    Args:
        goodness: arm to data set to its value there, the higher the better.
        alpha: of the tests.
    """
    from scipy import stats

    arms = list(goodness)
    places = (
        [each for each in goodness[arms[0]] if all(each in goodness[arm] for arm in arms)]
        if arms
        else []
    )
    k, n = len(arms), len(places)
    if k < LEAST_ARMS or n < LEAST_PLACES:
        return None
    values = np.array([[goodness[arm][place] for arm in arms] for place in places])
    ranked = stats.rankdata(-values, axis=1)
    mean = ranked.mean(axis=0)
    chi = float(stats.friedmanchisquare(*values.T).statistic) if np.ptp(ranked) else 0.0
    if math.isnan(chi):  # all arms equal on every data set
        chi = 0.0
    most = n * (k - 1)
    f = (n - 1) * chi / (most - chi) if most - chi > 1e-12 * most else math.inf
    critical = stats.studentized_range.ppf(1 - alpha, k, np.inf) / math.sqrt(2)
    return Ranks(
        places=n,
        mean=dict(zip(arms, map(float, mean), strict=True)),
        p=float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        critical=float(critical * math.sqrt(k * (k + 1) / (6 * n))),
        alpha=alpha,
        pairs=_signed_ranks(values, arms),
    )


def _signed_ranks(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", arms: Sequence[str]
) -> dict[tuple[str, str], float | None]:
    from scipy import stats

    raw: dict[tuple[str, str], float | None] = {}
    for one, other in itertools.combinations(range(len(arms)), 2):
        differences = values[:, one] - values[:, other]
        pair = (arms[one], arms[other])
        raw[pair] = float(stats.wilcoxon(differences).pvalue) if np.any(differences) else None
    known = [pair for pair, p in raw.items() if p is not None]
    adjusted = holm([p for p in raw.values() if p is not None]) if known else []
    return {**raw, **dict(zip(known, adjusted, strict=True))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """The mean difference over data sets, of which those at hand are a sample.

    Args:
        places: number of data sets.
        mean: difference, by a mixed model: a mean for all, and one random effect for each data set.
        low, high: interval of the mean, by Student's t with one degree of freedom fewer than data sets.
        between: standard deviation of the true differences from data set to data set; 0 where none is seen.
        within: standard deviation from seed to seed on one data set.
        p: that the mean is 0.
        differs: p that the difference is the same on every data set (analysis of variance); None where seeds do not
            differ.
    """

    places: int
    mean: float
    low: float
    high: float
    between: float
    within: float
    p: float
    differs: float | None


def overall(differences: Mapping[str, Sequence[float]], alpha: float) -> Overall | None:
    """Fit the mixed model to the differences of one arm to its references; None below two data sets with two seeds each.

    Source: the model d_ij = mu + a_i + e_ij by restricted maximum likelihood (statsmodels MixedLM; Laird & Ware 1982,
    Biometrics 38:963). With few data sets the normal interval of the fit is too narrow, so Student's t is used, as is
    exact for equally many seeds.

    Args:
        differences: data set to the paired differences of its seeds.
        alpha: one minus the level of the interval.
    """
    from scipy import stats

    known = {place: list(of) for place, of in differences.items() if len(of) > 1}
    n = len(known)
    if n < LEAST_PLACES:
        return None
    spread = math.sqrt(float(np.mean([np.var(of, ddof=1) for of in known.values()])))
    if spread <= 1e-12:  # nothing varies between seeds: the means are all that there is to know
        means = [float(np.mean(of)) for of in known.values()]
        mean, between, within = float(np.mean(means)), float(np.std(means, ddof=1)), 0.0
        error, differs = between / math.sqrt(n), None
    else:
        mean, error, between, within = _fitted(known)
        differs = float(stats.f_oneway(*known.values()).pvalue)
    half = float(stats.t.ppf(1 - alpha / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return Overall(
        places=n,
        mean=mean,
        low=mean - half,
        high=mean + half,
        between=between,
        within=within,
        p=p,
        differs=differs,
    )


def _fitted(known: Mapping[str, Sequence[float]]) -> tuple[float, float, float, float]:
    """Mean, its standard error, and the standard deviations between and within data sets."""
    from scipy import stats

    values = np.concatenate([np.asarray(of, dtype=float) for of in known.values()])
    if stats.f_oneway(*known.values()).statistic <= 1:
        # No variance between data sets is seen: the likelihood is highest at 0, where the optimiser fails or is slow.
        within = float(np.std(values, ddof=1))
        return float(np.mean(values)), within / math.sqrt(len(values)), 0.0, within
    from statsmodels.regression.mixed_linear_model import MixedLM  # takes a second to load

    groups = np.repeat(np.arange(len(known)), [len(of) for of in known.values()])
    unit = float(np.std(values)) or 1.0  # the optimiser's tolerances are absolute
    with warnings.catch_warnings():
        # It warns where the variance between data sets is 0, which is an answer.
        warnings.simplefilter("ignore")
        fit = MixedLM(values / unit, np.ones((len(values), 1)), groups).fit(reml=True)
    between = math.sqrt(max(0.0, float(fit.cov_re[0][0])))
    return (
        unit * float(fit.fe_params[0]),
        unit * float(fit.bse_fe[0]),
        unit * between,
        unit * math.sqrt(float(fit.scale)),
    )
