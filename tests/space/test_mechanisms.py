"""Spaces whose factor is the mechanism: what exists in which arm, and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.errors import InputError
from karat.space.arms import sections_of
from karat.space.reader import load_space
from tests.conftest import ROOT, SMALL

WriteSpace = Callable[..., Path]
TEXT = (
    SMALL.replace("attention: {rank: 4}", "attention: {basis: fourier, grid_size: 2, rank: 4}")
    .replace("reference: {attention.basis: softmax}\n", "")
    .replace(
        """\
  attention.basis: [softmax, fourier]
  attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}
""",
        "  attention.mechanism: [softmax, karat, static, pointwise, sigmoid]\n",
    )
    .replace("trials: 6", "trials: 12")
    .replace("by: attention.grid_size", "by: attention.mechanism")
)


def attention_of(space: Any) -> dict[str, dict[str, object]]:
    return {label: dict(arm.sections["attention"]) for label, arm in space.arms.items()}


def test_fixed_settings_apply_to_the_mechanisms_that_have_them(write_space: WriteSpace) -> None:
    space = load_space(write_space(text=TEXT))
    assert attention_of(space) == {
        "softmax": {"mechanism": "softmax"},
        "karat": {"mechanism": "karat", "basis": "fourier", "grid_size": 2, "rank": 4},
        "static": {"mechanism": "static", "rank": 4},
        "pointwise": {"mechanism": "pointwise", "basis": "fourier", "grid_size": 2},
        "sigmoid": {"mechanism": "sigmoid"},
    }
    for arm in space.arms.values():
        sections_of(space, arm)


def test_softmax_is_the_reference_where_none_is_given(write_space: WriteSpace) -> None:
    space = load_space(write_space(text=TEXT))
    assert space.reference_arms == ("softmax",)


def test_factor_exists_only_for_mechanisms_that_have_it(write_space: WriteSpace) -> None:
    more = "  attention.rank: [2, 4]\n  attention.learned_bias: [true, false]\n"
    text = TEXT.replace(", rank: 4}", "}").replace("tuned:", f"{more}tuned:")
    arms = load_space(write_space(text=text)).arms
    assert set(arms) == {
        *("softmax", "karat rank=2", "karat rank=4", "static rank=2", "static rank=4"),
        *("pointwise", "sigmoid learned_bias=True", "sigmoid learned_bias=False"),
    }


def test_basis_is_a_factor_beside_the_mechanism(write_space: WriteSpace) -> None:
    more = "  attention.basis: [fourier, chebyshev]\n  attention.degree: [2, 4]\n"
    text = TEXT.replace("basis: fourier, grid_size: 2, rank: 4", "rank: 4")
    arms = load_space(write_space(text=text.replace("tuned:", f"{more}tuned:"))).arms
    assert set(arms) == {
        *("softmax", "static", "sigmoid", "karat fourier", "pointwise fourier"),
        *(f"{name} chebyshev degree={d}" for name in ("karat", "pointwise") for d in (2, 4)),
    }


def test_tuned_setting_exists_only_for_mechanisms_that_have_it(write_space: WriteSpace) -> None:
    more = "  attention.rank: {low: 2, high: 4}\n"
    text = TEXT.replace(", rank: 4}", "}").replace("tuned:\n", f"tuned:\n{more}")
    space = load_space(write_space(text=text))
    having = {label for label, arm in space.arms.items() if "attention.rank" in arm.tuned}
    assert having == {"karat", "static"}


def test_condition_on_a_fixed_basis_does_not_reach_mechanisms_without_one(
    write_space: WriteSpace,
) -> None:
    more = "  attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}\n"
    text = TEXT.replace(", grid_size: 2", "").replace("tuned:", f"{more}tuned:")
    arms = load_space(write_space(text=text)).arms
    assert "static" in arms
    assert "karat grid_size=1" in arms


def test_registers_are_a_factor_like_any_other(write_space: WriteSpace) -> None:
    text = TEXT.replace("tuned:", "  model.registers: [0, 4]\ntuned:")
    text = text.replace("by: attention.mechanism", "by: model.registers")
    space = load_space(write_space(text=text))
    assert space.references == {0: "softmax registers=0", 4: "softmax registers=4"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank: 4}", "rank: 4, power: 3}", "5: attention.power: does not exist for the mechanisms of this space: softmax, karat, static, pointwise, sigmoid"),
        ("rank: 4}", "rank: 4, omega0: 3}", "5: attention.omega0: does not exist for the mechanisms of this space"),
        ("rank: 4}", "rank: 4, ranks: 3}", "5: attention.ranks: unknown key. did you mean 'rank'"),
        ("static,", "statc,", "8: attention.mechanism = 'statc': unknown. did you mean 'static'?"),
        ("basis: fourier, ", "", "5: attention.basis: is missing; mechanism: karat needs one of these"),
        ("basis: fourier", "basis: softmax", "attention.basis = 'softmax': unknown"),
        ("[softmax, karat, static, pointwise, sigmoid]", "[softmax, static, sigmoid]", "5: attention.basis: does not exist for the mechanisms of this space: softmax, static, sigmoid"),
        ("tuned:", "  attention.iterations: [3, 5]\ntuned:", "9: factors.attention.iterations: does not exist for the mechanisms of this space"),
        ("tuned:", "  attention.kernel: {values: [auto, reference], when: {attention.mechanism: static}}\ntuned:", "9: factors.attention.kernel: does not exist for attention.mechanism: static"),
        ("[softmax, karat, static, pointwise, sigmoid]", "[karat, static]", "1: reference: is missing, and no level is softmax, which would be it; write {attention.mechanism: karat}"),
    ],
)  # fmt: skip
def test_wrong_space_names_line_setting_and_rule(
    write_space: WriteSpace, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_space(write_space((old, new), text=TEXT))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_old_names_and_configurations_stay_as_they_were(small_space: Any) -> None:
    assert attention_of(small_space) == {
        "softmax": {"basis": "softmax"},
        "fourier grid_size=1": {"rank": 4, "basis": "fourier", "grid_size": 1},
        "fourier grid_size=2": {"rank": 4, "basis": "fourier", "grid_size": 2},
    }


def test_checking_a_space_of_all_mechanisms_loads_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from karat.system.lazy_import import import_lazily; import_lazily('torch'); "
        "from karat.space.reader import load_space; "
        "load_space(Path('search_spaces/softmax_rivals.yaml')); "
        "print(sorted({'torch._C', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
