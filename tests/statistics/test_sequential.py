"""Verdicts that are looked at several times are false no more often than alpha, and find as much with fewer seeds."""

import numpy as np
import pytest
from scipy import stats

from karat.statistics.comparison import Comparison, Rule, Why, compare
from karat.statistics.futility import chance_of_verdict, is_futile
from karat.statistics.power import power
from karat.statistics.samples import Array
from karat.statistics.sequential import lowest_p, nominal_level, overall_p, taken

ALPHA = 0.05
LOOKS = (5, 8, 11, 14, 17, 20)
RULE = Rule(mode="max", smallest_difference=0.5, alpha=ALPHA, worst=-100.0, looks=LOOKS)


def differences(families: int, arms: int, seed: int, shared: bool = True) -> Array:
    """Null differences to a common reference, as correlated as that makes them: [families, arms, seeds].

    Arms have unequal variances.
    """
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((families, 1, LOOKS[-1]))
    own = rng.standard_normal((families, arms, LOOKS[-1]))
    return own * np.linspace(0.5, 3.0, arms)[:, None] - shared * reference


def nominal(found: Array, looks: tuple[int, ...] = LOOKS) -> Array:
    """Two-sided p of the t test at each look: [families, arms, looks]."""
    tests = [stats.ttest_1samp(found[..., :n], 0.0, axis=-1).pvalue for n in looks]
    return np.stack(tests, axis=-1)


def holm_rejects_any(p: Array) -> Array:
    """Whether Holm's correction calls any of the arms: its first step is Bonferroni's. [families]"""
    return np.asarray(p.min(axis=-1) < ALPHA / p.shape[-1])


@pytest.mark.parametrize("arms", [1, 2, 9])
def test_false_verdicts_are_no_more_than_alpha_whatever_stops_the_looks(arms: int) -> None:
    """The most that any stopping rule can do is to take the lowest p of all looks."""
    families = 10_000
    lowest = nominal(differences(families, arms, seed=arms)).min(axis=-1)
    share = holm_rejects_any(overall_p(lowest, LOOKS)).mean()
    assert share <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / families)


def test_without_the_correction_looks_would_more_than_double_false_verdicts() -> None:
    lowest = nominal(differences(10_000, 1, seed=0)).min(axis=-1)
    assert holm_rejects_any(lowest).mean() > 2 * ALPHA


def test_failed_runs_make_false_verdicts_no_more_likely() -> None:
    """Looks then have fewer pairs than planned, while the level stays that of the planned looks."""
    families = 10_000
    found = differences(families, 1, seed=7)[:, 0]
    done = np.random.default_rng(8).random(found.shape) > 0.2
    n, sums, squares = (np.cumsum(done * found**degree, axis=1) for degree in range(3))
    lowest = np.ones(families)
    for look in LOOKS:
        count, mean = n[:, look - 1], sums[:, look - 1] / np.maximum(n[:, look - 1], 1)
        variance = (squares[:, look - 1] - count * mean**2) / np.maximum(count - 1, 1)
        t = np.abs(mean) / np.sqrt(np.maximum(variance, 1e-12) / np.maximum(count, 1))
        p = 2 * stats.t.sf(t, np.maximum(count - 1, 1))
        lowest = np.where(count > 1, np.minimum(lowest, p), lowest)
    share = holm_rejects_any(overall_p(lowest[:, None], LOOKS)).mean()
    assert share <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / families)


@pytest.mark.parametrize(("effect", "most_runs"), [(0.9, 0.67), (1.3, 0.46)])
def test_added_seeds_find_what_a_fixed_number_finds_with_fewer_runs(
    effect: float, most_runs: float
) -> None:
    """5 to 26 seeds, 3 at a time, against 20: 65 % of the runs at d_z 0.9, and 44 % at 1.3."""
    looks, families = (5, 8, 11, 14, 17, 20, 23, 26), 4000
    found = np.random.default_rng(1).normal(effect, 1.0, (families, 1, looks[-1]))
    calls = nominal(found, looks)[:, 0] < nominal_level(ALPHA, looks)
    called = calls.any(axis=1)
    seeds = np.where(called, np.array(looks)[calls.argmax(axis=1)], looks[-1])
    assert called.mean() >= power(effect, 20, ALPHA) - 0.01
    assert seeds.mean() <= most_runs * 20


def test_the_interval_holds_at_all_looks_at_once() -> None:
    found, families = differences(10_000, 1, seed=3)[:, 0], 10_000
    level, holds = nominal_level(ALPHA, LOOKS), np.ones(families, bool)
    for n in LOOKS:
        test = stats.ttest_1samp(found[:, :n], 0.0, axis=1)
        interval = test.confidence_interval(1 - level)
        holds &= (interval.low < 0) & (interval.high > 0)
    share = float(holds.mean())
    assert abs(share - 0.95) <= 2 * np.sqrt(ALPHA * (1 - ALPHA) / families)


@pytest.mark.parametrize(("looks", "level"), [(2, 0.0294), (3, 0.0221), (5, 0.0158), (10, 0.0106)])
def test_with_many_seeds_the_level_is_that_of_pocock(looks: int, level: float) -> None:
    """Table 1 of Pocock 1977: nominal levels of equally many, known-variance observations at each look."""
    many = tuple(1000 * (1 + each) for each in range(looks))
    assert nominal_level(ALPHA, many) == pytest.approx(level, rel=0.03)


def test_one_look_is_an_ordinary_test() -> None:
    assert nominal_level(ALPHA, ()) == nominal_level(ALPHA, (7,)) == ALPHA
    assert overall_p(np.array([0.03]), (7,)) == pytest.approx(0.03)


def test_p_is_between_the_lowest_one_and_bonferroni() -> None:
    p = np.array([1e-12, 1e-4, 0.01, 0.2, 1.0])
    overall = overall_p(p, LOOKS)
    assert (overall >= p).all()
    assert (overall <= np.minimum(1, len(LOOKS) * p)).all()
    assert overall_p(np.array([nominal_level(ALPHA, LOOKS)]), LOOKS) == pytest.approx(
        ALPHA, rel=1e-3
    )
    assert not lowest_p(LOOKS).flags.writeable


def test_a_look_without_a_new_pair_is_none() -> None:
    assert taken(range(8), LOOKS) == [5, 8]
    assert taken([0, 2, 3, 4], LOOKS) == [4]
    assert taken([0, 1, 2, 3, 4, 9], LOOKS) == [5, 6]
    assert taken([], LOOKS) == [0]


def compared(values: Array, rule: Rule = RULE) -> Comparison:
    runs = {"arm": dict(enumerate(values)), "reference": dict.fromkeys(range(len(values)), 0.0)}
    return compare(runs, {"arm": "reference"}, rule)["arm"]


def test_a_comparison_counts_all_looks_in_p_and_interval() -> None:
    values = np.random.default_rng(5).normal(0.7, 1.0, 11)
    found = compared(values)
    lowest = min(stats.ttest_1samp(values[:n], 0.0).pvalue for n in (5, 8, 11))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)
    assert found.p_looks == pytest.approx(float(overall_p(np.array([lowest]), LOOKS)[0]))
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(1 - RULE.level)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.spread == pytest.approx(np.std(values, ddof=1))


def test_a_difference_that_was_clear_at_an_earlier_look_only_is_inconclusive() -> None:
    """This happens where Holm's correction has become easier by what was found of another arm since."""
    early = np.array([1.0, 1.02, 0.98, 1.01, 0.99])
    found = compared(np.concatenate([early, [-9.0, 8.0, -12.0]]))
    assert found.p_holm is not None
    assert found.p_holm < ALPHA
    assert (found.verdict, found.why) == ("inconclusive", Why.ONLY_EARLIER_P_BELOW_ALPHA)


def test_seeds_that_cannot_help_are_futile_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, 14)
    noise -= noise.mean()
    assert is_futile(compared(noise), RULE, 14)
    assert not is_futile(compared(noise + 1.5), RULE, 14)
    assert not is_futile(compared(noise), RULE, 20)  # the last look: nothing is left to give up
    assert chance_of_verdict(compared(noise + 9), RULE, 14) == 1.0


def test_the_predicted_chance_is_that_of_simulated_continuations() -> None:
    """The true mean is drawn as the prediction takes it: around the mean so far, with its error."""
    seen = np.random.default_rng(2).normal(0.0, 1.0, 11)
    seen += 0.55 - seen.mean()
    found, rng, spread = compared(seen), np.random.default_rng(1), np.std(seen, ddof=1)
    true = 0.55 + rng.normal(size=4000) * spread / np.sqrt(11)
    more = rng.normal(true[:, None], spread, (4000, 9))
    whole = np.concatenate([np.tile(seen, (4000, 1)), more], axis=1)
    interval = stats.ttest_1samp(whole, 0.0, axis=1).confidence_interval(1 - RULE.level)
    decided = (interval.low > 0) | (interval.high < 0)
    decided |= (interval.low > -0.5) & (interval.high < 0.5)
    assert chance_of_verdict(found, RULE, 11) == pytest.approx(decided.mean(), abs=0.05)


def test_failed_runs_without_a_value_leave_no_chance() -> None:
    loss = Rule(mode="min", smallest_difference=0.5, alpha=ALPHA, looks=LOOKS)
    values = {seed: 9.0 + seed / 10 for seed in range(4)}
    base = dict.fromkeys(range(5), 0.0)
    runs = {"arm": values, "reference": base}
    found = compare(runs, {"arm": "reference"}, loss, {"arm": [4]})["arm"]
    assert found.why is Why.FAILED_RUNS
    assert is_futile(found, loss, 5)
