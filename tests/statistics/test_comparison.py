import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from karat.report.wording import why_text
from karat.statistics.comparison import (
    Comparison,
    Rule,
    compare,
    pairwise,
    pooled_variance_cut,
    turned,
)
from karat.statistics.samples import describe

RULE = Rule(mode="max", smallest_difference=0.005, alpha=0.05)
BASE = {0: 0.700, 1: 0.712, 2: 0.695, 3: 0.706, 4: 0.701}


def shifted(by: float, noise: float = 0.001) -> dict[int, float]:
    return {i: v + by + noise * (-1) ** i * (1 + i / 10) for i, v in BASE.items()}


def one(runs: Mapping[int, float], rule: Rule = RULE) -> Comparison:
    return all_against(BASE, {"arm": runs}, rule)["arm"]


def all_against(
    base: Mapping[int, float], arms: Mapping[str, Mapping[int, float]], rule: Rule = RULE
) -> dict[str, Comparison]:
    """Every arm against the one reference."""
    return compare({"base": base, **arms}, dict.fromkeys(arms, "base"), rule)


def simulated(
    rng: np.random.Generator, arms: int, seeds: int, difference: float = 0.0
) -> list[dict[int, float]]:
    """A reference, then `arms` arms; the seed explains half of each run's variance."""
    of_seed = rng.normal(0, 0.01, seeds)
    runs = 0.9 + of_seed + rng.normal(0, 0.01, (arms + 1, seeds))
    runs[1:] += difference
    return [dict(enumerate(map(float, row))) for row in runs]


def test_numbers_are_those_of_scipy() -> None:
    runs = shifted(0.02, 0.01)
    found = one(runs)
    test = stats.ttest_rel(list(runs.values()), list(BASE.values()))
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert found.low == pytest.approx(interval.low)
    assert found.high == pytest.approx(interval.high)
    assert found.difference == pytest.approx(np.mean([runs[i] - BASE[i] for i in BASE]))
    assert found.sd == pytest.approx(np.std(list(runs.values()), ddof=1))


@pytest.mark.parametrize(
    ("by", "mode", "verdict"),
    [
        (0.25, "max", "better"),
        (-0.25, "max", "worse"),
        (0.25, "min", "worse"),
        (-0.25, "min", "better"),
    ],
)
def test_better_and_worse_follow_the_mode(by: float, mode: str, verdict: str) -> None:
    rule = Rule(mode=mode, smallest_difference=0.005, alpha=0.05)  # type: ignore[arg-type]
    assert one(shifted(by), rule).verdict == verdict


def test_a_certain_but_negligible_difference_is_equivalent() -> None:
    found = one(shifted(0.002, 0.0001))
    assert found.p is not None
    assert found.p < 0.001
    assert found.verdict == "equivalent"


def test_equivalence_is_decided_by_the_interval_that_is_shown() -> None:
    for width in (0.004, 0.0055, 0.007, 0.02):
        found = one(shifted(0, width), Rule(mode="max", smallest_difference=0.005, alpha=0.05))
        assert found.low is not None
        assert found.high is not None
        inside = found.low > -0.005 and found.high < 0.005
        assert (found.verdict == "equivalent") == inside


def test_holm_can_take_a_verdict_away_and_says_so() -> None:
    arm = {
        i: v + d for (i, v), d in zip(BASE.items(), (0.01, 0.002, 0.013, 0.003, 0.01), strict=True)
    }
    alone = one(arm)
    noisy = {f"noise {k}": shifted(0, 0.01 + k / 1000) for k in range(5)}
    among = all_against(BASE, {"arm": arm, **noisy})["arm"]
    assert alone.verdict == "better"
    assert among.p == alone.p
    assert among.verdict == "inconclusive"
    assert "p alone would be below it" in why_text(among, RULE)
    low, low_holm = among.low or 0.0, among.low_holm or 0.0
    assert low_holm < 0 < low


@pytest.mark.parametrize("looks", [(), (5, 8)])
def test_the_interval_at_holms_level_excludes_zero_where_the_corrected_p_is_below_alpha(
    looks: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(1)
    rule = replace(RULE, smallest_difference=0.0, looks=looks)
    seen = set()
    for _ in range(60):
        base, *arms = simulated(rng, 4, 5, difference=0.02)
        found = all_against(base, {str(k): arm for k, arm in enumerate(arms)}, rule)
        for each in found.values():
            low, high, p = each.low_holm or 0.0, each.high_holm or 0.0, each.p_holm or 0.0
            excludes = not low <= 0 <= high
            assert excludes == (p < rule.alpha)
            assert excludes == (each.verdict in ("better", "worse"))
            assert low <= (each.low or 0.0) + 1e-12
            seen.add(excludes)
    assert seen == {True, False}


def test_alone_the_interval_at_holms_level_is_the_interval() -> None:
    found = one(shifted(0.01))
    assert (found.low_holm, found.high_holm) == pytest.approx((found.low, found.high))


def test_each_arm_is_compared_with_its_own_reference_and_all_are_one_family() -> None:
    upper = {index: value + 0.1 for index, value in BASE.items()}
    runs = {"low": BASE, "high": upper, "a": shifted(0.01, 0.008), "b": shifted(0.103, 0.008)}
    found = compare(runs, {"a": "low", "b": "high"}, RULE)
    for label, base in (("a", BASE), ("b", upper)):
        alone = all_against(base, {label: runs[label]})[label]
        assert (found[label].difference, found[label].p) == (alone.difference, alone.p)
        assert found[label].low == alone.low
    smaller, larger = sorted(found.values(), key=lambda each: each.p or 0)
    assert smaller.p is not None
    assert larger.p is not None
    assert smaller.p_holm == pytest.approx(2 * smaller.p)
    assert larger.p_holm == pytest.approx(max(larger.p, 2 * smaller.p))
    assert (found["a"].against, found["b"].against) == ("low", "high")


def test_an_arm_without_a_test_stays_in_the_family() -> None:
    arm = shifted(0.01, 0.008)
    found = all_against(BASE, {"arm": arm, "lost": {}})
    assert found["arm"].p is not None
    assert found["arm"].p_holm == pytest.approx(2 * found["arm"].p)
    assert found["lost"].p_holm is None


@pytest.mark.parametrize(
    ("runs", "n", "reason"),
    [
        ({}, 0, "0 seeds completed in both"),
        ({7: 0.9}, 0, "0 seeds completed in both"),
        ({3: 0.9}, 1, "1 seed completed in both"),
        ({i: v for i, v in BASE.items() if i < 4}, 4, "same for every seed"),
        ({i: v + 0.2 for i, v in BASE.items()}, 5, "same for every seed"),
    ],
)
def test_degenerate_input_is_inconclusive_with_the_reason(
    runs: dict[int, float], n: int, reason: str
) -> None:
    found = one(runs)
    assert (found.n, found.verdict) == (n, "inconclusive")
    assert reason in why_text(found, RULE)
    assert (found.low, found.high, found.p, found.p_holm) == (None, None, None, None)
    numbers = [found.mean, found.sd, found.difference, found.variance_cut]
    assert all(number is None or math.isfinite(number) for number in numbers)


def test_constant_arms_have_no_variance_to_cut() -> None:
    same = dict.fromkeys(range(4), 0.5)
    found = all_against(same, {"arm": same})["arm"]
    assert found.variance_cut is None
    assert pooled_variance_cut([(same, same)]) is None


@pytest.mark.parametrize("call", [one, lambda runs: describe(list(runs.values()), 0.05)])
def test_a_value_that_is_not_finite_is_refused(call: Callable[[dict[int, float]], object]) -> None:
    with pytest.raises(ValueError, match="finite"):
        call({0: 0.9, 1: math.nan})


def test_only_seeds_of_both_arms_are_paired() -> None:
    runs = {**shifted(0.1), 9: 0.0}
    del runs[2]
    found = one(runs)
    assert found.n == 4
    assert found.difference == pytest.approx(0.1, abs=0.01)


def test_variance_cut_is_one_minus_the_ratio_of_variances() -> None:
    runs = shifted(0.1, 0.003)
    ours, theirs = np.array(list(runs.values())), np.array(list(BASE.values()))
    ratio = np.var(ours - theirs, ddof=1) / (np.var(ours, ddof=1) + np.var(theirs, ddof=1))
    assert one(runs).variance_cut == pytest.approx(1 - ratio)
    assert pooled_variance_cut([(runs, BASE), (runs, BASE)]) == pytest.approx(1 - ratio)


def test_pairs_are_one_family_and_can_be_turned() -> None:
    arms = {"a": BASE, "b": shifted(0.1), "c": shifted(0.01, 0.008)}
    found = pairwise(arms, RULE)
    assert [(each.arm, each.against) for each in found] == [("b", "a"), ("c", "a"), ("c", "b")]
    assert [each.verdict for each in found] == ["better", "inconclusive", "worse"]
    back = turned(found[2])
    assert (back.arm, back.against, back.verdict) == ("b", "c", "better")
    assert back.low == -found[2].high  # type: ignore[operator]
    assert pairwise({"a": BASE}, RULE) == ()


def test_sample_leaves_out_what_too_few_runs_cannot_give() -> None:
    assert describe([], 0.05).mean is None
    single = describe([0.9], 0.05)
    assert (single.mean, single.sd, single.low) == (0.9, None, None)
    flat = describe([0.9, 0.9, 0.9], 0.05)
    assert (flat.sd, flat.low, flat.high) == (0.0, 0.9, 0.9)
    usual = describe([0.8, 0.9, 1.0], 0.05)
    assert usual.low == pytest.approx(0.9 - stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3))


def test_identical_arms_are_called_different_in_no_more_than_alpha_of_studies() -> None:
    """200 studies of 4 arms that equal the reference. Tolerance: two standard errors, 0.031."""
    rng = np.random.default_rng(20240501)
    studies = 200
    called = 0
    for _ in range(studies):
        base, *arms = simulated(rng, arms=4, seeds=5)
        found = all_against(base, {str(i): arm for i, arm in enumerate(arms)})
        called += any(each.verdict in ("better", "worse") for each in found.values())
    assert called / studies <= RULE.alpha + 2 * math.sqrt(RULE.alpha * (1 - RULE.alpha) / studies)


def test_interval_covers_a_known_difference_in_95_percent_of_studies() -> None:
    """1000 studies with a difference of 0.02. Tolerance: three standard errors, 0.021."""
    rng = np.random.default_rng(20240502)
    studies, difference = 1000, 0.02
    covered = 0
    for _ in range(studies):
        base, arm = simulated(rng, arms=1, seeds=5, difference=difference)
        found = all_against(base, {"arm": arm})["arm"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= difference <= found.high
    assert covered / studies == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / studies))
