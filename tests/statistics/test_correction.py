"""Adjusted p-values are those of statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from karat.statistics.correction import holm


@pytest.mark.parametrize("tests", [1, 2, 9])
@pytest.mark.parametrize("round_to", [1, 6])  # with ties and without
def test_holm_is_that_of_statsmodels(tests: int, round_to: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):  # statsmodels takes long
        p_values = [*map(float, rng.uniform(size=tests).round(round_to))]
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-15)
