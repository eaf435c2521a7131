"""Interactions of two factors: which contrasts there are, their numbers, and how often they are false."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.anova import AnovaRM

from karat.forecast.curves import TrialInfo
from karat.forecast.simulator import simulate
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.interactions import interactions_of
from karat.report.facts.summary import Summary, summarise
from karat.report.sections import sections
from karat.seeds import derive
from karat.space.reader import load_space
from karat.statistics.comparison import Rule
from karat.statistics.samples import Sample

RULE = Rule(mode="max", smallest_difference=0.005, alpha=0.05, worst=0.0)
SIZE, BASIS, GRID = "model.embed_dim", "attention.basis", "attention.grid_size"
WriteSpace = Callable[..., Path]


def arm(
    factors: Mapping[str, Any], runs: Mapping[int, float], failed: tuple[int, ...] = ()
) -> ConfirmedArm:
    return ConfirmedArm(
        label=" ".join(map(str, factors.values())), factors=factors, level=None, against=None, cells=(),
        parameters=None, flops=None, planned=len(runs), completed=len(runs), ended=len(runs),
        failed=failed, validation=None, test=Sample(n=0), runs=runs, seconds=None, comparison=None,
    )  # fmt: skip


def crossed(
    rng: np.random.Generator, interaction: float = 0.0, n: int = 8, **more: Any
) -> list[ConfirmedArm]:
    """Two bases at two sizes, with main effects; the seed explains half of the variance."""
    of_seed = rng.normal(0, 0.01, n)
    found = []
    for i, basis in enumerate(("softmax", "fourier")):
        for j, size in enumerate((24, 48)):
            mean = 0.8 + 0.03 * i + 0.05 * j + interaction * i * j
            runs = mean + of_seed + rng.normal(0, 0.01, n)
            found.append(arm({BASIS: basis, SIZE: size, **more}, dict(enumerate(map(float, runs)))))
    return found


def test_two_levels_each_give_the_p_of_the_analysis_of_variance() -> None:
    arms = crossed(np.random.default_rng(1), 0.02)
    (found,) = interactions_of(arms, RULE, 8)
    rows = [
        {"seed": i, "basis": each.factors[BASIS], "size": each.factors[SIZE], "value": value}
        for each in arms
        for i, value in each.runs.items()
    ]
    table = AnovaRM(pd.DataFrame(rows), "value", "seed", within=["basis", "size"]).fit().anova_table
    assert found.comparison.p == pytest.approx(table.loc["basis:size", "Pr > F"])
    means = {tuple(each.factors.values()): np.mean([*each.runs.values()]) for each in arms}
    gains = [means["fourier", size] - means["softmax", size] for size in (24, 48)]
    assert found.comparison.difference == pytest.approx(gains[1] - gains[0])
    assert (found.factor, found.levels) == (BASIS, ("softmax", "fourier"))
    assert (found.other, found.at) == (SIZE, ("embed_dim=24", "embed_dim=48"))


def test_main_effects_alone_are_called_an_interaction_no_more_often_than_promised() -> None:
    rng, called = np.random.default_rng(0), 0
    for _ in range(400):
        (found,) = interactions_of(crossed(rng), RULE, 8)
        called += found.comparison.verdict in ("better", "worse")
    assert called <= 400 * (0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5)


def test_every_level_is_held_against_the_first_and_all_are_one_family() -> None:
    rng = np.random.default_rng(2)
    arms = [
        arm({BASIS: basis, SIZE: size}, dict(enumerate(map(float, rng.normal(0.9, 0.01, 5)))))
        for basis in ("softmax", "fourier", "morlet")
        for size in (24, 48, 96)
    ]
    found = interactions_of(arms, RULE, 5)
    assert [(each.levels[1], each.at[1]) for each in found] == [
        ("fourier", "embed_dim=48"), ("fourier", "embed_dim=96"),
        ("morlet", "embed_dim=48"), ("morlet", "embed_dim=96"),
    ]  # fmt: skip
    lowest = min(found, key=lambda each: each.comparison.p or 1.0)
    assert lowest.comparison.p is not None
    assert lowest.comparison.p_holm == pytest.approx(min(4 * lowest.comparison.p, 1.0))


def test_a_factor_that_one_level_alone_has_belongs_to_that_level() -> None:
    values = dict.fromkeys(range(3), 0.9)
    arms = [
        arm({BASIS: basis, **grid, SIZE: size}, values)
        for basis, grid in (("softmax", {}), ("fourier", {GRID: 1}), ("fourier", {GRID: 3}))
        for size in (24, 48)
    ]
    assert [(each.factor, each.levels) for each in interactions_of(arms, RULE, 3)] == [
        (BASIS, ("softmax", "fourier grid_size=1")),
        (BASIS, ("softmax", "fourier grid_size=3")),
        (GRID, ("grid_size=1", "grid_size=3")),
    ]


def test_arms_that_are_not_crossed_have_no_interactions() -> None:
    values = {0: 0.9, 1: 0.91}
    arms = [
        arm({BASIS: "softmax"}, values),
        *(arm({BASIS: "fourier", GRID: g}, values) for g in (1, 3)),
    ]
    assert interactions_of(arms, RULE, 2) == ()
    three = crossed(np.random.default_rng(0))[:3]
    assert interactions_of(three, RULE, 8) == ()


def test_what_all_four_arms_share_is_named_and_arms_apart_from_it_are_not_mixed() -> None:
    rng = np.random.default_rng(0)
    arms = [each for kernel in ("a", "b") for each in crossed(rng, kernel=kernel)]
    found = interactions_of(arms, RULE, 8)
    assert {(each.factor, each.other, each.within) for each in found} == {
        (BASIS, SIZE, "a"), (BASIS, SIZE, "b"),
        (BASIS, "kernel", "embed_dim=24"), (BASIS, "kernel", "embed_dim=48"),
        (SIZE, "kernel", "softmax"), (SIZE, "kernel", "fourier"),
    }  # fmt: skip


def test_seeds_that_were_added_because_of_a_result_do_not_count() -> None:
    arms = crossed(np.random.default_rng(0), n=12)
    (found,) = interactions_of(arms, RULE, 5)
    assert found.comparison.n == 5


def test_an_interaction_that_failed_runs_would_change_is_not_called() -> None:
    arms = crossed(np.random.default_rng(3), 0.1)
    (whole,) = interactions_of(arms, RULE, 8)
    assert whole.comparison.verdict == "better"
    last = arms[-1]
    runs = {index: value for index, value in last.runs.items() if index > 1}
    (found,) = interactions_of([*arms[:-1], arm(last.factors, runs, (0, 1))], RULE, 8)
    assert found.comparison.n == 6
    assert found.comparison.with_failures is not None
    assert found.comparison.with_failures.n == 8
    assert found.comparison.verdict == "inconclusive"


def test_without_a_worst_value_a_failed_run_settles_nothing() -> None:
    arms = crossed(np.random.default_rng(3), 0.1)
    last = arms[-1]
    runs = {index: value for index, value in last.runs.items() if index > 0}
    rule = Rule(mode="max", smallest_difference=0.005, alpha=0.05)
    (found,) = interactions_of([*arms[:-1], arm(last.factors, runs, (0,))], rule, 8)
    assert found.comparison.verdict == "inconclusive"


class Crossing:
    """Curves of a study in which Fourier gains nothing in the narrow model, and 5 points in the wide one."""

    def value(self, trial: TrialInfo, epoch: int) -> float:
        noise = (derive(3, trial.arm, trial.seed) / 2**31 - 0.5) / 100
        return 0.8 + 0.05 * ("fourier" in trial.arm and "=24" in trial.arm) + noise

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return 1.0


def crossed_study(write_space: WriteSpace, folder: Path) -> Summary:
    space = write_space(
        ("  attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}\n",
         "  model.embed_dim: [12, 24]\n"),
        ("by: attention.grid_size, seeds: 2", "by: arm, seeds: 5"),
        ("reference: {attention.basis: softmax}", "reference: {attention.basis: softmax, model.embed_dim: 12}"),
        ("embed_dim: 12, ", ""), ("trials: 6", "trials: 8"),
    )  # fmt: skip
    return summarise(simulate(load_space(space), folder, 2, Crossing()).state)


def test_the_report_has_the_table_of_a_study_that_crosses_two_factors(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    part = next(
        each
        for each in sections(crossed_study(write_space, tmp_path / "s"))
        if each.title == "How sure it is"
    )
    assert any("minus the same gain at the first level of that" in each for each in part.paragraphs)
    (table,) = (each for each in part.tables if "Interactions" in (each.title or ""))
    assert table.title == "Interactions of basis and embed_dim"
    (row,) = table.rows
    assert row[:3] == ("softmax to fourier", "embed_dim=24", "embed_dim=12")
    assert row[-1] == "yes, greater at embed_dim=24"


def test_the_first_level_is_the_one_that_the_space_names_first(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    """Arms are shown the best first."""
    summary = crossed_study(write_space, tmp_path / "s")
    assert summary.others[0].factors[SIZE] == 24
    (found,) = summary.interactions
    assert (found.levels, found.at) == (("softmax", "fourier"), ("embed_dim=12", "embed_dim=24"))
