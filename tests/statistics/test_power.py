"""What seeds can see, against statsmodels, printed tables and simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from karat.statistics.power import chance_of_equivalence, detectable, power, sight
from karat.statistics.sequential import nominal_level


@pytest.mark.parametrize("n", [2, 3, 5, 8, 20, 60])
@pytest.mark.parametrize("effect", [0.0, 0.3, 0.8, 1.3])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_power_is_that_of_statsmodels(n: int, effect: float, alpha: float) -> None:
    theirs = TTestPower().power(effect, n, alpha, df=n - 1, alternative="two-sided")
    if np.isnan(theirs):  # scipy cannot tell the chance of the wrong side, which is below 4e-5
        theirs = TTestPower().power(effect, n, alpha / 2, df=n - 1, alternative="larger")
    assert power(effect, n, alpha) == pytest.approx(theirs, abs=2e-4)


def test_the_detectable_difference_is_that_of_printed_tables() -> None:
    """G*Power and Cohen: 34 pairs for d = 0.5, 15 for d = 0.8, at 80 % and alpha 5 %."""
    assert detectable(33, 0.05) > 0.5 > detectable(34, 0.05)
    assert detectable(14, 0.05) > 0.8 > detectable(15, 0.05)


@pytest.mark.parametrize(("n", "smallest"), [(5, 1.0), (8, 1.0), (20, 0.6)])
def test_the_chance_of_equivalence_is_that_of_simulated_studies(n: int, smallest: float) -> None:
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((40_000, n))
    half = stats.t.isf(0.025, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    share = float((np.abs(draws.mean(axis=1)) + half < smallest).mean())
    assert chance_of_equivalence(n, smallest, 0.05) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("n", [2, 3, 1000])
@pytest.mark.parametrize("alpha", [0.4, 1e-6])
def test_extreme_plans_have_a_detectable_difference_too(n: int, alpha: float) -> None:
    assert power(detectable(n, alpha), n, alpha) == pytest.approx(0.8, abs=1e-4)


def test_more_arms_and_more_looks_see_less_and_more_seeds_see_more() -> None:
    common = {"alpha": 0.05, "smallest_difference": 0.005, "spread": 0.005}
    one = sight(seeds=8, looks=(), arms=1, **common)
    assert one.effect == pytest.approx(detectable(8, 0.05))
    assert sight(seeds=8, looks=(), arms=4, **common).effect > one.effect
    looked = sight(seeds=8, looks=(5, 8), arms=1, **common)
    assert looked.effect == pytest.approx(detectable(8, nominal_level(0.05, (5, 8))))
    assert looked.effect > one.effect > sight(seeds=20, looks=(5, 20), arms=1, **common).effect
