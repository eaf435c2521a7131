"""The road back: from what was found of learned functions to a space that tests it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import karat
from karat.analyses import closed_form_space, functions
from karat.analyses.attention.learned.closed_form import form_of
from karat.analyses.attention.learned.fitted import COMMON
from karat.analyses.attention.learned.simple import SIMPLE
from karat.analyses.kinds.functions import Functions
from karat.errors import AnalysisError, InputError
from karat.space.reader import load_space
from karat.space.space import Space
from tests.models.test_models import images, vit

SPACES = Path("search_spaces")
PAIR = """\
study: pair
question: Is it better?
data: {name: digits}
model: {name: vit_micro, patch_size: 2}
attention: {basis: fourier}
training: {recipe: quick, epochs: 2}
factors:
  attention.rank: [4, 8]
reference: {attention.rank: 4}
tuned: {training.learning_rate: {low: 1e-3, high: 1e-2, log: true}}
search: {sampler: random, trials: 6}
confirm: {by: attention.rank, seeds: 5, smallest_difference: 0.005}
"""


@pytest.fixture(scope="module")
def measured() -> Functions:
    generator = torch.Generator().manual_seed(1)
    attention = {"basis": "fourier", "rank": 4, "grid_size": 2}
    return functions(karat.convert(vit(), attention, generator=generator).eval(), images(3))


def found_as(measured: Functions, family: str) -> Functions:
    """As if three quarters of the units were nearest to this family, with slope 2 and centre 0.5."""
    units = len(measured.best if measured.best is not None else ())
    best = np.full(units, SIMPLE.index(family))
    best[: units // 4] = (SIMPLE.index(family) + 1) % len(SIMPLE)
    r2 = np.full((units, len(SIMPLE)), 0.25)
    r2[:, SIMPLE.index(family)] = 0.875
    common = np.tile([2.0, 0.5, 0.625], (len(COMMON), 1))
    return dataclasses.replace(measured, best=best, r2=r2, common=common)


def read(text: str, tmp_path: Path) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(path)


def test_the_form_is_the_family_of_most_units_with_its_figures(measured: Functions) -> None:
    form = form_of(found_as(measured, "sigmoid"))
    assert (form.family, form.level) == ("sigmoid", "closed_form")
    assert form.share == pytest.approx(0.75)
    assert (form.r2, form.linear, form.common) == (0.875, 0.25, 0.625)
    assert form.settings == {"function": "sigmoid", "slope": 2.0, "centre": 0.5}
    assert form_of(found_as(measured, "exponential")).settings == {
        "function": "exponential",
        "slope": 2.0,
    }
    assert form_of(found_as(measured, "linear")).level == "linear"
    assert form_of(found_as(measured, "constant")).level == "static"
    assert form_of(found_as(measured, "linear")).settings == {}


@pytest.mark.parametrize("family", ["quadratic", "exponential", "sigmoid", "cosine"])
def test_the_new_space_has_one_more_arm_with_the_function_found(
    measured: Functions, family: str, tmp_path: Path
) -> None:
    old = load_space(SPACES / "fourier_grid.yaml")
    text = closed_form_space(old, "karat grid_size=3", found_as(measured, family))
    new = read(text, tmp_path)
    assert set(new.arms) == {*old.arms, "closed_form"}
    own = new.arms["closed_form"].sections["attention"]
    assert own["function"] == family
    assert own["slope"] == 2.0
    assert own["rank"] == 12
    assert new.search.trials == 24  # 4 for each arm, as before
    assert new.name == "fourier-grid-closed-form"
    assert new.references == dict.fromkeys(new.references, "softmax")
    for label, arm in old.arms.items():  # the others are as they were
        assert new.arms[label].sections == arm.sections
    comment = " ".join(re.findall(r"^# (.*)", text, re.M))
    assert f"75 % are nearest to a {family} one" in comment
    assert "a median of 88 % of the variance, and a line 25 %" in comment
    assert "explains 62 % in the mean" in comment


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("head_sharing", "fourier shared universal"),  # mechanisms follow from the basis
        ("vit_size", "embed_dim=48 fourier universal"),  # a reference at each level
        ("content_off", "karat content=True"),
        ("hybrid", "fourier blocks=0,2,4 heads=0"),
        ("paper_table1_convit_swin", "convit_tiny fourier blockwise"),  # published results
    ],
)
def test_spaces_of_other_shapes_take_the_arm_as_one_more(
    measured: Functions, name: str, arm: str, tmp_path: Path
) -> None:
    old = load_space(SPACES / f"{name}.yaml")
    new = read(closed_form_space(old, arm, found_as(measured, "cosine")), tmp_path)
    assert len(new.arms) == len(old.arms) + 1
    (label,) = (each for each in new.arms if "closed_form" in each)
    shared = new.arms[label].factors.keys() & old.arms[arm].factors.keys() - {"attention.mechanism"}
    assert all(new.arms[label].factors[key] == old.arms[arm].factors[key] for key in shared)


def test_a_space_that_cannot_take_the_arm_says_why(measured: Functions) -> None:
    message = "cannot be added .*attention.rank = 'full': must be a number for this mechanism"
    with pytest.raises(AnalysisError, match=message):
        closed_form_space(
            load_space(SPACES / "rank.yaml"), "fourier rank=4", found_as(measured, "cosine")
        )


def test_other_levels_of_the_arm_are_kept_and_it_is_confirmed_by_itself(
    measured: Functions, tmp_path: Path
) -> None:
    old = read(PAIR, tmp_path)
    text = closed_form_space(old, "rank=8", found_as(measured, "cosine"))
    new = read(text, tmp_path)
    assert list(new.arms) == ["karat rank=4", "karat rank=8", "closed_form rank=8"]
    assert new.arms["closed_form rank=8"].sections["attention"]["rank"] == 8
    assert new.confirm.by == "arm"
    assert "confirm.by was attention.rank" in text
    assert set(new.references.values()) == {"karat rank=4"}


@pytest.mark.parametrize("family", ["linear", "constant"])
def test_a_line_and_a_constant_are_mechanisms_that_exist(
    measured: Functions, family: str, tmp_path: Path
) -> None:
    level = {"linear": "linear", "constant": "static"}[family]
    new = read(
        closed_form_space(read(PAIR, tmp_path), "rank=8", found_as(measured, family)), tmp_path
    )
    assert f"{level} rank=8" in new.arms
    with pytest.raises(
        AnalysisError, match=f"is that of mechanism: {level}, which fourier-grid has"
    ):
        closed_form_space(
            load_space(SPACES / "fourier_grid.yaml"),
            "karat grid_size=1",
            found_as(measured, family),
        )


def test_an_unknown_arm_and_one_without_functions_are_refused_in_one_line(
    measured: Functions,
) -> None:
    space = load_space(SPACES / "fourier_grid.yaml")
    with pytest.raises(InputError, match=r"'karat' is no arm of fourier-grid\. Known: karat grid"):
        closed_form_space(space, "karat", measured)
    without: Any = functions(vit().eval(), images(3))
    with pytest.raises(AnalysisError, match="has no learned functions of scores, for which"):
        closed_form_space(space, "softmax", without)
