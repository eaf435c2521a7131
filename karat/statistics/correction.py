"""The correction of p-values for several tests."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's procedure, which keeps the chance of any false rejection at alpha.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65. The same as `multipletests` of
    `statsmodels.stats.multitest`, which takes a second to load and collects garbage at each call:
    longer than everything else that a verdict needs.

    Args:
        p_values: of one family of tests.

    Returns:
        Each adjusted p-value, in the order given.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(each) for each in adjusted]


def shares(p_values: Sequence[float], adjusted: Sequence[float]) -> list[float]:
    """The share of alpha at which `holm` judges each test: it is below that where its adjusted p is below alpha."""
    return [
        p / after if after > 0 else 1 / len(p_values)
        for p, after in zip(p_values, adjusted, strict=True)
    ]


def t_intervals(
    samples: Sequence[tuple[float | None, float | None, int]], levels: Sequence[float]
) -> list[tuple[float, float]]:
    """Student's interval of each mean, from mean, standard deviation and number; NaN where one is None.

    Args:
        samples: of differences.
        levels: one minus the level of each interval.
    """
    from scipy import stats

    mean, spread, n = np.array(samples, dtype=float).T
    quantile = stats.t.ppf(1 - np.array(levels) / 2, np.maximum(n - 1, 1))
    half = quantile * spread / np.sqrt(np.maximum(n, 1))
    return [*zip((mean - half).tolist(), (mean + half).tolist(), strict=True)]
