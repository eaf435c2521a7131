"""Effects of a factorial: their values, how often their intervals hold the true ones, and what is aliased."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.anova import AnovaRM

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.designs.effects import Effect, effects_in, effects_of
from karat.statistics.comparison import Rule
from karat.statistics.samples import Sample

RULE = Rule(mode="max", smallest_difference=0.005, alpha=0.05, worst=0.0)
FOUR = dict.fromkeys("abcd", (0, 1))
# Half of these is added at the second level and taken away at the first: they are the effects of Yates.
TRUE = {("a",): 0.03, ("b",): -0.01, ("a", "b"): 0.02, ("c", "d"): -0.015}


def arm(
    factors: Mapping[str, Any], runs: Sequence[float], failed: tuple[int, ...] = ()
) -> ConfirmedArm:
    kept = {i: float(value) for i, value in enumerate(runs) if i not in failed}
    return ConfirmedArm(
        label=" ".join(f"{k}{v}" for k, v in factors.items()), factors=factors, level=None, against=None, cells=(),
        parameters=None, flops=None, planned=len(runs), completed=len(kept), ended=len(runs), failed=failed,
        validation=None, test=Sample(n=0), runs=kept, seconds=None, comparison=None,
    )  # fmt: skip


def truth(levels: Mapping[str, int]) -> float:
    signs = {key: 2 * level - 1 for key, level in levels.items()}
    return 0.8 + sum(
        value / 2 * np.prod([signs[key] for key in keys]) for keys, value in TRUE.items()
    )


def drawn(
    rng: np.random.Generator, cells: Sequence[Mapping[str, int]], seeds: int
) -> list[ConfirmedArm]:
    """Arms whose seeds explain half of the variance, with spreads that differ between arms."""
    of_seed = rng.normal(0, 0.01, seeds)
    return [
        arm(cell, truth(cell) + of_seed + rng.normal(0, 0.005 + 0.01 * cell["a"], seeds))
        for cell in cells
    ]


def cells_of(factors: Mapping[str, Sequence[int]]) -> list[dict[str, int]]:
    return [dict(zip(factors, each, strict=True)) for each in itertools.product(*factors.values())]


def by_name(effects: Sequence[Effect]) -> dict[tuple[str, ...], Effect]:
    return {each.factors: each for each in effects}


def test_effects_of_a_two_to_the_four_lie_in_their_intervals_in_95_percent_of_simulations() -> None:
    rng, cells = np.random.default_rng(0), cells_of(FOUR)
    held, called, number = 0, 0, 0
    for _ in range(200):
        found = effects_of(FOUR, drawn(rng, cells, 5), RULE, 5)
        for each in found:
            low, high = each.comparison.low, each.comparison.high
            assert low is not None
            assert high is not None
            held += low <= TRUE.get(each.factors, 0.0) <= high
            number += 1
        called += any(
            each.comparison.verdict in ("better", "worse") and each.factors not in TRUE
            for each in found
        )
    assert number == 200 * 10
    # Effects of one study share seeds, so that the 200 studies count, and not the 2,000 effects.
    margin = 2 * (0.95 * 0.05 / 200) ** 0.5
    assert held / number >= 0.95 - margin
    assert called / 200 <= 0.05 + margin


def test_without_noise_they_are_the_constructed_ones() -> None:
    arms = [arm(cell, [truth(cell)] * 3) for cell in cells_of(FOUR)]
    found = by_name(effects_of(FOUR, arms, RULE, 3))
    assert len(found) == 4 + 6
    for keys, each in found.items():
        assert each.comparison.difference == pytest.approx(TRUE.get(keys, 0.0), abs=1e-12)
        assert each.arms == 16


def test_p_values_are_those_of_the_analysis_of_variance_with_repeated_measures() -> None:
    two = dict.fromkeys("ab", (0, 1))
    arms = drawn(np.random.default_rng(3), [{**c, "c": 0, "d": 0} for c in cells_of(two)], 6)
    arms = [arm({k: a.factors[k] for k in "ab"}, [*a.runs.values()]) for a in arms]
    found = by_name(effects_of(two, arms, RULE, 6))
    rows = [
        {"seed": i, "a": a.factors["a"], "b": a.factors["b"], "value": value}
        for a in arms
        for i, value in a.runs.items()
    ]
    table = AnovaRM(pd.DataFrame(rows), "value", "seed", within=["a", "b"]).fit().anova_table
    for keys in (("a",), ("b",), ("a", "b")):
        assert found[keys].comparison.p == pytest.approx(table.loc[":".join(keys), "Pr > F"])


def test_a_factor_that_exists_at_one_level_alone_is_averaged_there() -> None:
    values = {("x", None): 0.5, ("y", 1): 0.6, ("y", 3): 0.8}
    arms = [
        arm({"m": m, **({} if g is None else {"g": g}), "w": w}, [value + 0.01 * w] * 3)
        for (m, g), value in values.items()
        for w in (0, 1)
    ]
    levels = {"m": ("x", "y"), "g": (1, 3), "w": (0, 1)}
    found = by_name(effects_of(levels, arms, RULE, 3))
    assert found["m",].comparison.difference == pytest.approx(0.2)
    assert found["g",].comparison.difference == pytest.approx(0.2)
    assert found["w",].comparison.difference == pytest.approx(0.01)
    assert ("m", "g") not in found
    assert found["g", "w"].comparison.difference == pytest.approx(0)


def test_combinations_that_did_not_run_are_left_out_on_both_sides() -> None:
    two = dict.fromkeys("ab", (0, 1, 2))
    arms = [arm(c, [0.1 * c["a"] + c["b"]] * 3) for c in cells_of(two) if c != {"a": 1, "b": 2}]
    found = [each for each in effects_of(two, arms, RULE, 3) if each.is_main]
    told = {each.levels[0]: each.comparison.difference for each in found}
    assert told["a=0", "a=1"] == pytest.approx(0.1)
    assert told["b=0", "b=2"] == pytest.approx(2)


def test_a_verdict_stands_only_if_failed_runs_do_not_change_it() -> None:
    two = dict.fromkeys("ab", (0, 1))
    rng = np.random.default_rng(4)
    arms = [
        arm(c, 0.5 + 0.2 * c["a"] + rng.normal(0, 0.01, 6), (0,) if c == {"a": 1, "b": 1} else ())
        for c in cells_of(two)
    ]
    found = by_name(effects_of(two, arms, RULE, 6))["a",].comparison
    assert found.n == 5
    assert found.p_holm is not None
    assert found.p_holm < 0.001
    assert found.with_failures is not None
    assert found.verdict == "inconclusive"


def fraction(runs: int, factors: int) -> dict[str, Any]:
    names = "abcdefg"[:factors]
    return {
        "design": {"name": "fractional", "runs": runs},
        "factors": {f"model.{name}": [0, 1] for name in names},
        "reference": {f"model.{name}": 0 for name in names},
    }


@pytest.mark.parametrize(
    ("runs", "factors", "effects"), [(8, 4, 7), (16, 5, 15), (8, 7, 7), (4, 3, 3)]
)
def test_a_fraction_has_one_effect_for_each_column_and_names_what_is_aliased(
    runs: int, factors: int, effects: int
) -> None:
    source = fraction(runs, factors)
    found = by_name(effects_in(source, arms_of(source, lambda _: 0.5), RULE, 3))
    assert len(found) == effects
    names = {each.factors for each in found.values()}
    for each in found.values():
        assert names.isdisjoint(alias for _, alias in each.aliases)
    every = [*names, *(alias for each in found.values() for _, alias in each.aliases)]
    pairs = [*itertools.combinations(source["factors"], 2)]
    assert sorted(every) == sorted([*((key,) for key in source["factors"]), *pairs])


def arms_of(source: dict[str, Any], value: Any) -> list[ConfirmedArm]:
    from karat.space.design.recorded import recorded_design

    design, crossing = recorded_design(source)
    return [arm(levels, [value(levels)] * 3) for levels in design.combinations(crossing)]


def test_the_effect_of_a_fraction_is_the_sum_of_what_is_aliased_with_its_signs() -> None:
    source = fraction(8, 4)
    a, b, c, d = source["factors"]
    assert source["reference"][d] == 0

    def value(levels: Mapping[str, int]) -> float:
        sign = {key: 2 * level - 1 for key, level in levels.items()}
        return 0.5 + 0.05 * sign[a] * sign[b] + 0.02 * sign[c] * sign[d] + 0.01 * sign[a]

    found = by_name(effects_in(source, arms_of(source, value), RULE, 3))
    assert found[a, b].aliases == ((False, (c, d)),)
    assert found[a, b].comparison.difference == pytest.approx(2 * (0.05 + 0.02))
    assert found[a,].comparison.difference == pytest.approx(2 * 0.01)
    assert found[a,].aliases == ()  # but for interactions of three factors
    # Another reference takes the other half, in which the two enter with opposite signs.
    source["reference"][d] = 1
    found = by_name(effects_in(source, arms_of(source, value), RULE, 3))
    assert found[a, b].aliases == ((True, (c, d)),)
    assert found[a, b].comparison.difference == pytest.approx(2 * (0.05 - 0.02))


def test_without_one_of_its_arms_a_fraction_has_no_effects() -> None:
    source = fraction(8, 4)
    assert effects_in(source, arms_of(source, lambda _: 0.5)[1:], RULE, 3) == ()
