"""One test over all arms at once."""

import numpy as np
import pytest
from scipy import stats

from karat.report.facts.family import family_test


def test_it_is_friedmans_test_over_the_seeds_that_all_arms_share() -> None:
    rng = np.random.default_rng(0)
    arms = {name: dict(enumerate(rng.normal(size=6))) for name in "abcd"}
    del arms["b"][2]
    found = family_test(arms, 1)
    assert found is not None
    assert (found.arms, found.n) == (4, 5)
    shared = [[of[i] for i in (0, 1, 3, 4, 5)] for of in arms.values()]
    assert found.p == pytest.approx(stats.friedmanchisquare(*shared).pvalue)


def test_arms_without_runs_are_left_out() -> None:
    arms = {name: {i: float((i * k) % 5) for i in range(5)} for k, name in enumerate("abc", 1)}
    assert family_test({**arms, "failed": {}}, 1) == family_test(arms, 1)


@pytest.mark.parametrize(
    "arms",
    [
        {"a": {0: 1.0, 1: 2.0}, "b": {0: 2.0, 1: 1.0}},  # a pair has its own test
        {name: {i: float(i)} for i, name in enumerate("abc")},  # no seed that all share
        {name: {0: 0.5, 1: 0.5} for name in "abc"},  # nothing varies
    ],
)
def test_it_is_not_given_where_it_is_not_defined(arms: dict[str, dict[int, float]]) -> None:
    assert family_test(arms, 1) is None
