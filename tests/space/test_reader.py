import re
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.planning.plans.confirmation import contests_of
from karat.space.reader import load_space
from karat.space.space import Space
from tests.conftest import SMALL
from tests.spaces import LISTS, MATCHED

WriteSpace = Callable[..., Path]


def test_factor_exists_only_where_its_condition_holds(small_space: Space) -> None:
    assert list(small_space.arms) == ["softmax", "fourier grid_size=1", "fourier grid_size=2"]
    assert "attention.grid_size" not in small_space.arms["softmax"].factors


def test_fixed_setting_is_omitted_for_a_basis_without_it(small_space: Space) -> None:
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
    assert space.excluded[0].rule.startswith("attention.rank = 50 is above the 5 tokens")


def test_exclude_removes_combinations(write_space: WriteSpace) -> None:
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
        ("[softmax, fourier]", "[softmax, softmax]", 9, "contains a value twice"),
        ("values: [1, 2]", "values: [0, 2]", 10, "attention.grid_size = 0: must be at least 1"),
        ("attention.grid_size: {values", "attention.omega0: {values", 10, "does not exist for attention.basis: fourier"),
        ("attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}", "attention.omega0: [1, 2]", 10, "does not exist for the bases of this space: softmax, fourier"),
        ("attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}", "attention.grid_sise: [1, 2]", 10, "unknown key. did you mean 'grid_size'?"),
        ("when: {attention.basis: fourier}", "when: {attention.bases: fourier}", 10, "must be a factor listed above"),
        ("when: {attention.basis: fourier}", "when: {attention.basis: rational}", 10, "never has this value"),
        ("low: 1e-3", "low: 0", 12, "must be greater than 0 on a logarithmic scale"),
        ("high: 1e-2", "high: 1e-4", 12, "must be greater than low"),
        ("high: 1e-2", "high: big", 12, "must be a number"),
        ("training.learning_rate: {low", "training.lr: {low", 12, "training.lr: unknown key"),
        ("trials: 6", "trials: 0", 13, "search.trials = 0: must be at least 1"),
        ("trials: 6", "trials: 2", 13, "search.trials = 2: must be at least 3, one for each arm"),
        ("sampler: tpe", "sampler: tpee", 13, "search.sampler = 'tpee': unknown. did you mean 'tpe'?"),
        ("sampler: tpe", "sampler: grid", 12, "must be a list of values for sampler grid"),
        ("scheduler: asha", "scheduler: ashe", 14, "did you mean 'asha'?"),
        ("reduction_factor: 3", "reduction_factor: 1", 14, "must be at least 1.1"),
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


def test_set_overrides_a_value_and_changes_the_hash(write_space: WriteSpace) -> None:
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
        (
            "search.trials",
            "[1",
            "--set search.trials=[1: '[1': a comma is missing, or a bracket is not closed",
        ),
    ],
)
def test_bad_set_names_the_assignment(
    write_space: WriteSpace, key: str, text: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_space(write_space(), {key: text})
    assert message in str(caught.value)


def test_name_is_not_part_of_the_hash(write_space: WriteSpace) -> None:
    path = write_space()
    assert load_space(path, name="other").hash == load_space(path).hash
    with pytest.raises(InputError, match="--name: study"):
        load_space(path, name="Not Allowed")


# -- references -------------------------------------------------------------------------------


def test_one_reference_holds_for_all_levels(small_space: Space) -> None:
    assert small_space.references == {1: "softmax", 2: "softmax"}
    assert [(each.label, each.reference) for each in contests_of(small_space)] == [
        ("softmax", None),
        ("grid_size=1", "softmax"),
        ("grid_size=2", "softmax"),
    ]


def test_reference_may_match_one_arm_at_each_level(write_space: WriteSpace) -> None:
    space = load_space(write_space(text=MATCHED))
    assert space.references == {12: "embed_dim=12 softmax", 24: "embed_dim=24 softmax"}
    found = [
        (each.label, each.level, each.reference, [arm.label for arm in each.arms])
        for each in contests_of(space)
    ]
    assert found == [
        ("embed_dim=12 softmax", 12, None, ["embed_dim=12 softmax"]),
        (
            "embed_dim=12",
            12,
            "embed_dim=12 softmax",
            ["embed_dim=12 fourier grid_size=1", "embed_dim=12 fourier grid_size=2"],
        ),
        ("embed_dim=24 softmax", 24, None, ["embed_dim=24 softmax"]),
        (
            "embed_dim=24",
            24,
            "embed_dim=24 softmax",
            ["embed_dim=24 fourier grid_size=1", "embed_dim=24 fourier grid_size=2"],
        ),
    ]


def test_reference_with_a_level_of_the_confirmed_factor_applies_to_all_levels(
    write_space: WriteSpace,
) -> None:
    named = ("reference: {", "reference: {model.embed_dim: 24, ")
    space = load_space(write_space(named, text=MATCHED))
    assert space.references == {12: "embed_dim=24 softmax", 24: "embed_dim=24 softmax"}
    assert [len(each.arms) for each in contests_of(space)] == [1, 3, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "reference: {attention.basis: softmax}",
            "reference: {attention.basis: fourier}",
            "reference: must match one arm, or one at each level of model.embed_dim; it matches 4 "
            "(embed_dim=12 fourier grid_size=1, embed_dim=12 fourier grid_size=2, "
            "embed_dim=24 fourier grid_size=1, embed_dim=24 fourier grid_size=2): "
            "add a level of attention.grid_size",
        ),
        (
            "reference: {attention.basis: softmax}",
            "reference: {model.embed_dim: 12}",
            "it matches 3 (embed_dim=12 softmax, embed_dim=12 fourier grid_size=1, embed_dim=12 "
            "fourier grid_size=2): add a level of attention.basis, attention.grid_size",
        ),
        (
            "by: model.embed_dim",
            "by: attention.grid_size",
            "one at each level of attention.grid_size; it matches 2 (embed_dim=12 softmax, "
            "embed_dim=24 softmax): add a level of model.embed_dim",
        ),
        (
            "reference: {attention.basis: softmax}",
            "reference: {attention.basis: softmax, attention.grid_size: 1}",
            "it matches 0: no arm has all these levels",
        ),
    ],
)
def test_reference_that_matches_too_many_or_none_is_refused_with_a_remedy(
    write_space: WriteSpace, old: str, new: str, message: str
) -> None:
    path = write_space((old, new), text=MATCHED)
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (
            "softmax",
            "it matches 2 (embed_dim=12 softmax, embed_dim=24 softmax): it matches none at 48",
        ),
        ("fourier", "confirm.by = 'model.embed_dim': has only the reference arm at 48; remove"),
    ],
)
def test_level_without_reference_or_without_others_is_refused(
    write_space: WriteSpace, basis: str, message: str
) -> None:
    exclude = f"exclude:\n  - {{model.embed_dim: 48, attention.basis: {basis}}}\n"
    path = write_space(("[12, 24]", "[12, 24, 48]"), text=MATCHED + exclude)
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert message in str(caught.value)


def test_free_allocation_needs_trials_for_every_reference(write_space: WriteSpace) -> None:
    path = write_space(("trials: 12", "trials: 2, allocation: free"), text=MATCHED)
    with pytest.raises(InputError, match=r"trials = 2: must be at least 3, one for each ref"):
        load_space(path)


# -- levels that are lists --------------------------------------------------------------------


def test_setting_of_a_basis_needs_no_condition(write_space: WriteSpace) -> None:
    plain = load_space(write_space())
    implied = load_space(write_space((", when: {attention.basis: fourier}", "")))
    assert list(implied.arms) == list(plain.arms)
    assert implied.factors == plain.factors


@pytest.mark.parametrize(
    ("levels", "labels"),
    [
        ("[none, simplex]", ["projection=none", "projection=simplex"]),
        ("[softmax, simplex]", ["softmax", "simplex"]),
    ],
)
def test_generic_text_is_labelled_with_its_key(
    levels: str, labels: list[str], write_space: WriteSpace
) -> None:
    exchange = ("attention.grid_size: {values: [1, 2]", f"attention.projection: {{values: {levels}")
    by = ("by: attention.grid_size", "by: attention.projection")
    space = load_space(write_space(exchange, by))
    assert list(space.arms) == ["softmax", *(f"fourier {label}" for label in labels)]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ("attention.rank: {low: 2, high: 9}", "attention.rank = 9 in fourier grid_size=1: attention.rank = 9 is above the 5 tokens"),
        ("attention.rank: {values: [2, full]}\n  attention.operator_order: {values: [w_phi, phi_w]}", "must be a number for operator_order: phi_w"),
        ("attention.rank: {values: [2, 4]}\n  attention.blocks: {values: [all, late]}", "contains none of the 1 blocks"),
    ],
)  # fmt: skip
def test_range_with_an_end_or_a_pair_that_cannot_run_is_refused(
    ranges: str, message: str, write_space: WriteSpace
) -> None:
    path = write_space(("tuned:", f"tuned:\n  {ranges}"), ("attention: {rank: 4}", "attention: {}"))
    with pytest.raises(InputError, match=message) as caught:
        load_space(path)
    assert "tuned." in str(caught.value) or "attention.rank" in str(caught.value)


def test_space_without_a_runnable_arm_but_the_reference_says_why(write_space: WriteSpace) -> None:
    path = write_space(("attention: {rank: 4}", "attention: {rank: 9}"))
    with pytest.raises(InputError, match=r"attention.rank = 9 is above the 5 tokens"):
        load_space(path)


def test_list_level_is_a_tuple_in_the_factors_and_a_list_in_the_configuration(
    write_space: WriteSpace,
) -> None:
    space = load_space(write_space(text=LISTS))
    assert list(space.arms) == [
        "softmax",
        "fourier blocks=all grid_size_per_block=1,2",
        "fourier blocks=all grid_size_per_block=2,1",
        "fourier blocks=early",
        "fourier blocks=1",
        "fourier blocks=0,1 grid_size_per_block=1,2",
    ]
    arm = space.arms["fourier blocks=0,1 grid_size_per_block=1,2"]
    assert arm.factors["attention.blocks"] == (0, 1)
    assert arm.sections["attention"]["blocks"] == [0, 1]
    assert arm.sections["attention"]["grid_size_per_block"] == [1, 2]
    assert [each.label for each in contests_of(space)] == [
        "softmax",
        "blocks=all",
        "blocks=early",
        "blocks=1",
        "blocks=0,1",
    ]


def test_list_level_may_be_used_in_exclude_when_and_reference(write_space: WriteSpace) -> None:
    assert [each.label for each in load_space(write_space(text=LISTS)).excluded] == [
        "fourier blocks=0,1 grid_size_per_block=2,1"
    ]
    exchanges = (
        ("{attention.basis: softmax}", "{attention.blocks: [1]}"),
        ("attention.blocks: [all, [0, 1]]}}", "attention.blocks: [0, 1]}}"),
    )
    space = load_space(write_space(*exchanges, text=LISTS))
    assert set(space.references.values()) == {"fourier blocks=1"}
    assert [label for label in space.arms if "per_block" in label] == [
        "fourier blocks=0,1 grid_size_per_block=1,2"
    ]


def test_fixed_list_can_be_a_condition(write_space: WriteSpace) -> None:
    text = SMALL.replace("depth: 1", "depth: 2").replace("{rank: 4}", "{rank: 4, blocks: [0, 1]}")
    for condition, count in (("[[0, 1]]", 3), ("[0, 1]", 3)):
        when = f"when: {{attention.basis: fourier, attention.blocks: {condition}}}"
        space = load_space(write_space(("when: {attention.basis: fourier}", when), text=text))
        assert len(space.arms) == count


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("early, [1]", "early, [1, [0]]", "attention.blocks = [1, [0]]: each value must be text"),
        ("early, [1]", "early, []", "attention.blocks = []: each value must be text, a number"),
        ("early, [1]", "early, {a: 1}", "attention.blocks = {a: 1}: each value must be text"),
        ("early, [1]", "early, [0, 1]", "contains a value twice"),
        ("early, [1]", "early, [x]", "attention.blocks[0] = 'x': must be a whole number"),
        ("[all, [0, 1]]}}", "[all, [2, 1]]}}", "attention.blocks = [2, 1]: never has this value."),
        ("blocks: [0, 1], attention.grid", "blocks: [early, all], attention.grid", "write one entry for each level"),
        ("{attention.basis: softmax}", "{attention.blocks: [0]}", "attention.blocks = [0]: is not a level of this factor"),
        ("{low: 1e-3, high: 1e-2, log: true}", "{values: [1e-3, [1e-3, 1e-2]]}", "= [0.001, 0.01]: a tuned value must not be a list; a level of a factor may"),
        ("basis: [softmax, fourier]", "basis: [softmax, [fourier]]", "attention.basis = ['fourier']: unknown"),
    ],
)  # fmt: skip
def test_bad_list_level_is_refused_with_its_rule(
    write_space: WriteSpace, old: str, new: str, message: str
) -> None:
    path = write_space((old, new), text=LISTS)
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))
    assert message in str(caught.value)


def test_ambiguous_condition_is_refused(write_space: WriteSpace) -> None:
    exchanges = (
        ("values: [all, early, [1], [0, 1]]", "values: [all, early, [all, early]]"),
        ("attention.blocks: [all, [0, 1]]}}", "attention.blocks: [all, early]}}"),
    )
    with pytest.raises(InputError, match=r"for the list as a level write \[\['all', 'early'\]\]"):
        load_space(write_space(*exchanges, text=LISTS))


def test_levels_with_the_same_label_are_refused(write_space: WriteSpace) -> None:
    path = write_space(("early, [1]", "early, [1], '1'"), text=LISTS)
    with pytest.raises(
        InputError, match="two combinations would have the label 'fourier blocks=1'"
    ):
        load_space(path)


# -- seeds ------------------------------------------------------------------------------------


def test_seeds_of_search_and_confirmation_never_coincide(small_space: Space) -> None:
    search = {small_space.seed_of("search", i) for i in range(1000)}
    confirm = {small_space.seed_of("confirm", i) for i in range(1000)}
    assert not search & confirm
