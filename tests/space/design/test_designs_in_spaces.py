"""Spaces with a design: which arms they have, what is refused with its line, and what a large one costs to read."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.cli.launch import launch
from karat.errors import InputError
from karat.parameters import EACH_ARM
from karat.planning.plans import confirmation
from karat.planning.plans.adaptive import Search
from karat.space.arms import trial_config
from karat.space.design import refusals
from karat.space.reader import load_space
from karat.training import config as training

WriteSpace = Callable[..., Path]
THREE = """\
study: three
question: What does each give?
data: {name: digits}
model: {name: vit_micro, patch_size: 4, embed_dim: 12, num_heads: 2}
training: {recipe: quick, epochs: 2, batch_size: 128}
design: one_factor
reference: {model.depth: 2, training.mixup: 0.2, training.label_smoothing: 0.1}
factors:
  model.depth: [1, 2]
  training.mixup: [0, 0.2]
  training.label_smoothing: [0, 0.1]
tuned:
  training.learning_rate: {values: [0.001, 0.003]}
search: {sampler: tpe, trials: 16}
confirm: {seeds: 2}
"""
OFF = "{name: leave_one_out, off: {model.depth: 1}}"
GRID = ("search: {sampler: tpe, trials: 16}", "search: {sampler: grid}")


@pytest.mark.parametrize(
    ("design", "arms"),
    [("one_factor", 4), (OFF, 4), ("factorial", 8), ("search", 8), ("{name: fractional, runs: 4}", 4)],
)  # fmt: skip
def test_every_arm_is_tuned_equally_and_the_reference_is_the_named_one(
    write_space: WriteSpace, design: str, arms: int
) -> None:
    path = write_space(("one_factor", design), ("seeds: 2", "seeds: 2, by: arm"), text=THREE)
    space = load_space(path)
    assert len(space.arms) == arms
    assert {size.trials for size in space.sizes.values()} == {16 // arms}
    [reference] = space.reference_arms
    assert space.arms[reference].factors == {
        "model.depth": 2,
        "training.mixup": 0.2,
        "training.label_smoothing": 0.1,
    }
    assert space.confirm.by == EACH_ARM


def test_a_grid_trains_every_cell_once_at_full_length(write_space: WriteSpace) -> None:
    space = load_space(write_space(("one_factor", "grid"), GRID, text=THREE))
    assert Search(space).total == 16
    assert space.early_stopping == {"scheduler": "none"}
    assert space.confirm.by == EACH_ARM


def test_a_space_without_a_design_keeps_its_hash(write_space: WriteSpace) -> None:
    source = ("design: one_factor\n", "")
    space = load_space(write_space(source, ("seeds: 2", "seeds: 2, by: arm"), text=THREE))
    assert space.design.name == "search"
    assert "design" not in space.source
    named = load_space(
        write_space(("one_factor", "factorial"), ("seeds: 2", "seeds: 2, by: arm"), text=THREE)
    )
    assert list(named.arms) == list(space.arms)
    assert named.hash != space.hash


@pytest.mark.parametrize(
    ("exchanges", "message"),
    [
        ([("one_factor", "one_facto")], ":6: design = 'one_facto': unknown. did you mean 'one_factor'?"),
        (
            [("one_factor", "{name: factorial, runs: 8}")],
            ":6: design.runs = 8: does not exist: design factorial has no settings beside its name",
        ),
        (
            [("reference: {model.depth: 2, training.mixup: 0.2, training.label_smoothing: 0.1}\n", "")],
            "reference: is missing: design one_factor varies each factor from the reference",
        ),
        ([("reference: {model.depth: 2, training.mixup", "reference: {training.mixup")], ":7: reference: must name a level"),
        ([("depth: 2", "depth: 3")], ":7: reference.model.depth = 3: is not a level of this factor"),
        ([("model.depth: 2", "model.dept: 2")], ":7: reference.model.dept: must be one of the factors"),
        ([("{model.depth: 2, training.mixup: 0.2, training.label_smoothing: 0.1}", "deep")], ":7: reference = 'deep': must"),
        ([("one_factor", "leave_one_out")], ":9: model.depth = [1, 2]: has no level that is off"),
        ([("one_factor", "{name: fractional, runs: 5}")], ":6: design.runs = 5: cannot be built for 3 factors; the nearest"),
        ([("one_factor", "fractional"), ("[0, 0.1]", "[0, 0.1, 0.2]")], ":11: training.label_smoothing = [0, 0.1, 0.2]: must"),
        ([("seeds: 2", "seeds: 2, by: model.depth")], ":15: confirm.by = 'model.depth': must be arm with design one_factor"),
        ([("trials: 16", "trials: 16, allocation: free")], ":14: search.allocation = 'free': must be equal with design"),
        ([("one_factor", "grid")], ":14: search.sampler = 'tpe': must be grid with design grid"),
        (
            [("one_factor", "grid"), GRID, ("confirm:", "early_stopping: {scheduler: asha}\nconfirm:")],
            ":15: early_stopping.scheduler = 'asha': must be none with design grid",
        ),
        (
            [("one_factor", "fractional"), ("tuned:", "exclude: [{model.depth: 1, training.mixup: 0}]\ntuned:")],
            "design fractional needs every one of its arms, and",
        ),
        (
            [("tuned:", "exclude: [{model.depth: 2, training.mixup: 0.2}]\ntuned:")],
            ":7: reference: depth=2 mixup=0.2 label_smoothing=0.1 does not run; ",
        ),
    ],
)  # fmt: skip
def test_a_design_that_cannot_be_is_refused_in_one_line_with_its_place(
    write_space: WriteSpace, exchanges: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_space(write_space(*exchanges, text=THREE))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_factorial_that_explodes_says_its_size_and_price_first(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MAX_ARMS", 6)
    monkeypatch.setattr("karat.space.arms.MAX_ARMS", 6)
    with pytest.raises(InputError) as caught:
        load_space(write_space(("one_factor", "factorial"), text=THREE))
    assert (
        ":8: factors: design factorial has 8 arms (2 x 2 x 2 levels), at least 24 trainings (one of the search and 2 "
        "seeds each); at most 6 arms can be"
    ) in str(caught.value)


@pytest.mark.parametrize("design", ["one_factor", OFF, "factorial", "fractional"])
def test_the_plan_names_the_design_and_its_number_of_arms(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], design: str
) -> None:
    path = write_space(("one_factor", design), text=THREE)
    assert launch(["--space", str(path), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    name = design.removeprefix("{name: ").partition(",")[0]
    assert f" design {name}: " in said
    assert f"; {len(load_space(path).arms)} arms " in said


def test_sections_that_many_arms_share_are_built_once(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load_space(write_space(("one_factor", "factorial"), text=THREE))
    made: Counter[str] = Counter()

    def counted(name: str, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def build(values: Any) -> Any:
            made[name] += 1
            return make(values)

        return build

    makers = {name: counted(name, make) for name, make in training._MAKERS.items()}
    monkeypatch.setattr(training, "_MAKERS", makers)
    configs = [trial_config(space, arm) for arm in space.arms.values()]
    assert made == {"data": 1, "model": 2, "attention": 1, "training": 4}
    sections = [arm.config({"training.learning_rate": 0.001}) for arm in space.arms.values()]
    assert configs == [training.TrialConfig.from_sections(each) for each in sections]


def test_the_contests_of_many_arms_are_found_by_looking_at_each_arm_once(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load_space(write_space(("one_factor", "factorial"), text=THREE))
    looked: list[str] = []
    level_in = confirmation.level_in

    def counted(by: str, label: str, factors: Any) -> Any:
        looked.append(label)
        return level_in(by, label, factors)

    monkeypatch.setattr(confirmation, "level_in", counted)
    assert len(confirmation.contests_of(space)) == 8
    assert len(looked) == 7
