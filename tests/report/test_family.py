"""One test over all arms at once."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.family import factor_tests, family_test
from karat.statistics.samples import describe


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


def crossed(effect: dict[str, float], missing: tuple[str, str] | None = None) -> list[ConfirmedArm]:
    """Arms that cross a basis with a sharing; those of one basis have a grid size too."""
    rng, arms = np.random.default_rng(0), []
    for basis, gain in effect.items():
        for sharing in ("per_head", "shared"):
            for size in (1, 3) if basis == "fourier" else (None,):
                if (basis, sharing) == missing:
                    continue
                factors = {"attention.basis": basis, "attention.head_sharing": sharing}
                factors |= {"attention.grid_size": size} if size else {}
                runs = {seed: 0.9 + gain + 0.001 * rng.normal() for seed in range(6)}
                arms.append(arm_of(f"{basis} {sharing} {size}", factors, runs))
    return arms


def arm_of(label: str, factors: dict[str, Any], runs: dict[int, float]) -> ConfirmedArm:
    return ConfirmedArm(
        label=label,
        factors=factors,
        level=label,
        against=None,
        cells=(),
        parameters=None,
        flops=None,
        planned=len(runs),
        completed=len(runs),
        ended=len(runs),
        failed=(),
        validation=None,
        test=describe(list(runs.values()), 0.05),
        runs=runs,
        seconds=None,
        comparison=None,
    )


EFFECT = {"softmax": 0.0, "fourier": 0.01, "rational": 0.02}


def test_levels_of_a_factor_are_tested_on_means_over_arms_that_differ_in_nothing_else() -> None:
    arms = crossed(EFFECT)
    (found,) = factor_tests(arms, 6, 1)  # two levels of the others have their own comparisons
    assert (found.factor, found.levels, found.n) == ("attention.basis", 3, 6)
    means = [
        [
            np.mean([arm.runs[i] for arm in arms if arm.factors["attention.basis"] == basis])
            for i in range(6)
        ]
        for basis in EFFECT
    ]
    assert found.p == found.p_holm == pytest.approx(stats.friedmanchisquare(*means).pvalue)


def test_a_combination_that_a_level_lacks_is_left_out_for_all_levels() -> None:
    arms = crossed(EFFECT, missing=("rational", "shared"))
    (found,) = factor_tests(arms, 6, 1)
    kept = [arm for arm in arms if arm.factors["attention.head_sharing"] == "per_head"]
    means = [
        [
            np.mean([arm.runs[i] for arm in kept if arm.factors["attention.basis"] == basis])
            for i in range(6)
        ]
        for basis in EFFECT
    ]
    assert found.p == pytest.approx(stats.friedmanchisquare(*means).pvalue)


def test_a_study_of_one_factor_has_the_test_over_all_arms_alone() -> None:
    arms = [
        arm_of(name, {"attention.basis": name}, {0: 0.9, 1: 0.8, 2: v})
        for name, v in EFFECT.items()
    ]
    assert factor_tests(arms, 3, 1) == ()
