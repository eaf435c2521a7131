import re
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space import Space
from karat.spacefile import load_space
from tests.conftest import ROOT, SMALL

WriteSpace = Callable[..., Path]


def test_shipped_spaces_load() -> None:
    for path in sorted((ROOT / "search_spaces").glob("*.yaml")):
        space = load_space(path)
        assert space.name.replace("-", "_") == path.stem


def test_conditions_make_a_factor_exist_only_where_they_hold(small_space: Space) -> None:
    assert list(small_space.arms) == ["softmax", "fourier grid_size=1", "fourier grid_size=2"]
    assert small_space.reference == "softmax"
    assert "attention.grid_size" not in small_space.arms["softmax"].factors


def test_fixed_setting_is_left_out_where_it_does_not_exist(small_space: Space) -> None:
    assert small_space.arms["softmax"].sections["attention"] == {"basis": "softmax"}
    assert small_space.arms["fourier grid_size=1"].sections["attention"]["rank"] == 4


def test_combination_that_cannot_run_is_excluded_with_its_rule(write_space: WriteSpace) -> None:
    space = load_space(
        write_space(
            ("attention: {rank: 4}\n", ""),
            (
                "tuned:",
                "  attention.rank: {values: [2, 50], when: {attention.basis: fourier}}\ntuned:",
            ),
        )
    )
    assert [each.label for each in space.excluded] == [
        "fourier grid_size=1 rank=50",
        "fourier grid_size=2 rank=50",
    ]
    assert space.excluded[0].rule == "attention.rank = 50 is above the 5 tokens of this model"


def test_exclude_leaves_combinations_out(write_space: WriteSpace) -> None:
    space = load_space(write_space(text=SMALL + "exclude:\n  - {attention.grid_size: 2}\n"))
    assert list(space.arms) == ["softmax", "fourier grid_size=1"]
    assert re.fullmatch(r"excluded by .*space\.yaml:\d+", space.excluded[0].rule)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("study: small", "study: a/b", 1, "study = 'a/b': must be lower-case letters"),
        ("study: small", "study: ../x", 1, "study = '../x'"),
        ("question:", "qestion:", 2, "qestion: unknown key. did you mean 'question'?"),
        ("{name: digits}", "{name: digts}", 3, "data.name = 'digts': unknown. did you mean 'digits'?"),
        ("patch_size: 4", "patch_size: 3", 4, "model.patch_size = 3 does not divide"),
        ("patch_size: 4", "patch_size: four", 4, "model.patch_size = 'four': must be a whole number"),
        ("name: vit_micro", "name: local-dir:/etc", 4, "model.name = 'local-dir:/etc': unknown"),
        ("num_heads: 2", "num_heads: 5", 4, "model.num_heads = 5 does not divide"),
        ("rank: 4", "rank: 0", 5, "attention.rank = 0: must be at least 1"),
        ("rank: 4", "rnk: 4", 5, "attention.rnk: unknown key. did you mean 'rank'?"),
        ("epochs: 4", "epochs: 0", 6, "training.epochs = 0: must be at least 1"),
        ("recipe: quick", "recipe: quik", 6, "training.recipe = 'quik': unknown. did you mean 'quick'?"),
        ("basis: softmax", "basis: softmx", 7, "reference.attention.basis = 'softmx': is not a level"),
        ("[softmax, fourier]", "[softmax, furier]", 9, "attention.basis = 'furier': unknown. did you mean 'fourier'?"),
        ("[softmax, fourier]", "[]", 9, "factors.attention.basis = []: must be a list with at least"),
        ("[softmax, fourier]", "[softmax, softmax]", 9, "a value stands here twice"),
        ("values: [1, 2]", "values: [0, 2]", 10, "attention.grid_size = 0: must be at least 1"),
        (", when: {attention.basis: fourier}", "", 10, "does not exist for attention.basis: softmax"),
        ("when: {attention.basis: fourier}", "when: {attention.bases: fourier}", 10, "must be a factor listed above"),
        ("when: {attention.basis: fourier}", "when: {attention.basis: rational}", 10, "is never that"),
        ("low: 1e-3", "low: 0", 12, "must be greater than 0 on a logarithmic scale"),
        ("high: 1e-2", "high: 1e-4", 12, "must be greater than low"),
        ("high: 1e-2", "high: big", 12, "must be a number"),
        ("training.learning_rate: {low", "training.lr: {low", 12, "training.lr: unknown key"),
        ("trials: 6", "trials: 0", 13, "search.trials = 0: must be at least 1"),
        ("trials: 6", "trials: 2", 13, "search.trials = 2: must be at least 3, one for each arm"),
        ("sampler: tpe", "sampler: tpee", 13, "search.sampler = 'tpee': unknown. did you mean 'tpe'?"),
        ("sampler: tpe", "sampler: grid", 12, "must be a list of values for sampler grid"),
        ("scheduler: asha", "scheduler: ashe", 14, "did you mean 'asha'?"),
        ("reduction_factor: 3", "reduction_factor: 1", 14, "must be greater than 1"),
        ("by: attention.grid_size", "by: attention.rank", 15, "must be the factor whose levels"),
        ("seeds: 2", "seeds: 1", 15, "confirm.seeds = 1: must be at least 2"),
    ],
)  # fmt: skip
def test_bad_space_names_file_line_value_and_rule(
    write_space: WriteSpace, old: str, new: str, line: int, message: str
) -> None:
    path = write_space((old, new))
    with pytest.raises(InputError) as caught:
        load_space(path)
    text = str(caught.value)
    assert text.startswith(f"{path}:{line}: "), text
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("section", ["data", "search", "factors"])
def test_missing_section_is_named(write_space: WriteSpace, section: str) -> None:
    kept = [line for line in SMALL.splitlines() if not line.startswith(f"{section}:")]
    if section == "factors":
        kept = [line for line in kept if not line.startswith("  attention.")]
    with pytest.raises(InputError, match=section):
        load_space(write_space(text="\n".join(kept)))


def test_set_overrides_a_value_and_changes_the_meaning(write_space: WriteSpace) -> None:
    path = write_space()
    plain, changed = load_space(path), load_space(path, {"training.epochs": "2"})
    assert changed.arms["softmax"].sections["training"]["epochs"] == 2
    assert plain.hash != changed.hash
    assert load_space(path, {"factors.attention.grid_size.values": "[2]"}).arms.keys() == {
        "softmax",
        "fourier grid_size=2",
    }


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("training.epochs", "0", "--set training.epochs=0: training.epochs = 0: must be at least"),
        (
            "trainning.epochs",
            "3",
            "--set trainning.epochs=3: unknown key 'trainning'. did you mean",
        ),
        ("training.learning_rate", "0.1", "is one of the tuned here; use --set tuned.training."),
        ("search.trials", "[1", "--set search.trials=[1:1: not valid YAML"),
    ],
)
def test_bad_set_names_the_assignment(
    write_space: WriteSpace, key: str, text: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_space(write_space(), {key: text})
    assert message in str(caught.value)


def test_name_is_no_part_of_the_meaning(write_space: WriteSpace) -> None:
    path = write_space()
    assert load_space(path, name="other").hash == load_space(path).hash
    with pytest.raises(InputError, match="--name: study"):
        load_space(path, name="Not Allowed")


def test_seeds_of_search_and_confirmation_are_never_the_same(small_space: Space) -> None:
    search = {small_space.seed_of("search", i) for i in range(1000)}
    confirm = {small_space.seed_of("confirm", i) for i in range(1000)}
    assert not search & confirm
