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
