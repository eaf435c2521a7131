"""Ranks and mixed models over data sets, against published numbers and simulated studies."""

import numpy as np
import pytest
from scipy import stats

from karat.statistics.across import overall, ranks

# Demšar 2006, Table 6: area under the curve of four variants of C4.5 on 14 data sets.
DEMSAR = {
    "C4.5": (0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957),
    "C4.5+m": (0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978),
    "C4.5+cf": (0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.000, 0.965, 0.614, 0.9751, 0.946),
    "C4.5+m+cf": (0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.000, 0.962, 0.669, 0.975, 0.970),
}  # fmt: skip


def demsar() -> dict[str, dict[str, float]]:
    return {arm: {str(i): value for i, value in enumerate(of)} for arm, of in DEMSAR.items()}


def test_ranks_critical_difference_and_p_are_those_of_the_paper() -> None:
    found = ranks(demsar(), 0.05)
    assert found is not None
    assert [round(value, 3) for value in found.mean.values()] == [3.143, 2.0, 2.893, 1.964]
    assert found.critical == pytest.approx(1.25, abs=0.01)  # 2.569 sqrt(4 5 / (6 14))
    # Without a correction for ties the paper has an F of 3.69, whose p is 0.0199; with it, it is the F of an analysis
    # of variance of the ranks.
    table = stats.rankdata(-np.array(list(DEMSAR.values())).T, axis=1)
    of_arms = 14 * ((table.mean(axis=0) - 2.5) ** 2).sum()
    rest = ((table - table.mean(axis=0)) ** 2).sum()
    assert found.p == pytest.approx(stats.f.sf(of_arms / 3 / (rest / 39), 3, 39))
    assert 0.01 < found.p < 0.0199
    at_ten = ranks(demsar(), 0.10)
    assert at_ten is not None
    assert at_ten.critical == pytest.approx(1.12, abs=0.01)


def test_arms_that_are_not_told_apart_form_the_largest_groups() -> None:
    found = ranks(demsar(), 0.10)
    assert found is not None
    for group in found.groups:
        at = [found.mean[arm] for arm in group]
        assert max(at) - min(at) <= found.critical
    assert not any(set(a) < set(b) for a in found.groups for b in found.groups)
    apart = {
        frozenset(p)
        for p in found.pairs
        if abs(found.mean[p[0]] - found.mean[p[1]]) > found.critical
    }
    assert not any(pair <= set(group) for pair in apart for group in found.groups)


def test_too_few_arms_or_data_sets_have_no_ranks() -> None:
    two = {arm: of for arm, of in demsar().items() if arm in ("C4.5", "C4.5+m")}
    assert ranks(two, 0.05) is None
    assert ranks({arm: {"0": of["0"]} for arm, of in demsar().items()}, 0.05) is None
    assert ranks({}, 0.05) is None


def test_arms_that_are_equal_everywhere_share_their_rank_and_have_no_difference() -> None:
    found = ranks({arm: {"a": 0.5, "b": 0.7} for arm in "xyz"}, 0.05)
    assert found is not None
    assert set(found.mean.values()) == {2.0}
    assert found.p == 1.0
    assert set(found.pairs.values()) == {None}


def simulated(
    rng: np.random.Generator, mean: float, between: float, places: int
) -> dict[str, list[float]]:
    return {
        str(place): list(rng.normal(rng.normal(mean, between), 0.01, 5)) for place in range(places)
    }


@pytest.mark.parametrize("between", [0.0, 0.02])
def test_the_interval_covers_the_mean_over_data_sets_in_nineteen_of_twenty_studies(
    between: float,
) -> None:
    rng = np.random.default_rng(3)
    covered, called = 0, 0
    for _ in range(100):
        found = overall(simulated(rng, 0.0, between, 4), 0.05)
        assert found is not None
        covered += found.low <= 0.0 <= found.high
        called += found.p < 0.05
    assert covered >= 89, "below 95 % of 100 by more than 2.6 standard deviations"
    assert called <= 11


def test_with_equally_many_seeds_it_is_the_t_interval_of_the_means() -> None:
    of = simulated(np.random.default_rng(0), 0.05, 0.05, 5)
    found = overall(of, 0.05)
    assert found is not None
    means = [np.mean(each) for each in of.values()]
    assert found.mean == pytest.approx(np.mean(means), rel=1e-4)
    half = 2.7764451 * np.std(means, ddof=1) / np.sqrt(5)
    assert found.high - found.mean == pytest.approx(half, rel=1e-2)
    assert found.within == pytest.approx(0.01, rel=0.5)


def test_a_difference_that_depends_on_the_data_set_is_seen() -> None:
    rng = np.random.default_rng(1)
    same = overall(simulated(rng, 0.01, 0.0, 3), 0.05)
    other = overall(
        {"a": list(rng.normal(0.03, 0.005, 6)), "b": list(rng.normal(-0.03, 0.005, 6))}, 0.05
    )
    assert same is not None
    assert same.differs is not None
    assert same.differs > 0.01
    assert other is not None
    assert other.differs is not None
    assert other.differs < 1e-4
    assert other.low < 0 < other.high


def test_one_data_set_has_no_mean_over_data_sets() -> None:
    assert overall({"a": [0.1, 0.2], "b": [0.1]}, 0.05) is None


def test_seeds_that_do_not_differ_leave_the_means() -> None:
    found = overall({"a": [0.25, 0.25], "b": [0.75, 0.75]}, 0.05)
    assert found is not None
    assert (found.mean, found.within, found.differs) == (0.5, 0.0, None)
