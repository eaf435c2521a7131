"""Seconds of an epoch without a probe: the table of step costs, scaled by the machine's speed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from karat.attention.bases import BASES
from karat.attention.config import AttentionConfig
from karat.attention.mechanisms import MECHANISMS
from karat.attention.names import KARAT
from karat.forecast.speed.step_costs import StepCosts, kinds_of
from karat.forecast.speed.yardsticks import Speed, measured_speed
from karat.training.config import TrialConfig

TABLE = StepCosts.read()
OPERATOR = {"basis": "fourier", "grid_size": 3}


def config_of(attention: dict[str, Any], **model: Any) -> TrialConfig:
    return TrialConfig.from_sections(
        {
            "data": {"name": "digits"},
            "model": {"name": "vit_micro", "patch_size": 2} | model,
            "attention": attention,
            "training": {"recipe": "quick"},
        }
    )


def epoch_s(attention: dict[str, Any], speed: Speed = TABLE.speed, **model: Any) -> float:
    return TABLE.epoch_s(config_of(attention, **model), speed)


@pytest.mark.parametrize("basis", BASES)
def test_every_basis_is_in_the_table(basis: str) -> None:
    assert not TABLE.lacks(AttentionConfig.from_settings({"basis": basis}))


@pytest.mark.parametrize("mechanism", [name for name in MECHANISMS if name != KARAT])
def test_every_mechanism_is_in_the_table(mechanism: str) -> None:
    has_basis = "basis" in MECHANISMS[mechanism].operator_settings
    settings = {"mechanism": mechanism, **(OPERATOR if has_basis else {})}
    assert not TABLE.lacks(AttentionConfig.from_settings(settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"grid_size": 17},
        {"operator_order": "phi_w"},
        {"operator_order": "phi_phi"},
        {"projection": "simplex"},
        {"projection": "softmax"},
        {"base_activation": "silu"},
        {"rank": "full"},
    ],
)
def test_variants_of_the_operator_are_in_the_table_and_cost_more(settings: dict[str, Any]) -> None:
    attention = {**OPERATOR, **settings}
    assert not TABLE.lacks(AttentionConfig.from_settings(attention))
    assert epoch_s(attention) > epoch_s(OPERATOR)


def test_a_costly_basis_counts_as_what_was_measured() -> None:
    softmax, rational, meyer = (
        epoch_s({"basis": basis}) for basis in ("softmax", "rational", "meyer")
    )
    assert 1 < rational / softmax < 3
    assert meyer > rational


def test_seconds_follow_from_the_speed_of_the_machine() -> None:
    slow = Speed(
        multiply_adds_per_s=TABLE.speed.multiply_adds_per_s / 3,
        rounds_per_s=TABLE.speed.rounds_per_s / 3,
    )
    assert epoch_s(OPERATOR, slow) == pytest.approx(3 * epoch_s(OPERATOR))


def test_blocks_and_heads_that_keep_softmax_cost_as_softmax() -> None:
    all_of_them, early, softmax = (
        epoch_s(attention, depth=4)
        for attention in (
            {"basis": "rational"},
            {"basis": "rational", "blocks": [0]},
            {"basis": "softmax"},
        )
    )
    assert early - softmax == pytest.approx((all_of_them - softmax) / 4)
    one_head = epoch_s({"basis": "rational", "heads": [0]}, num_heads=4)
    every_head = epoch_s({"basis": "rational"}, num_heads=4)
    assert softmax < one_head < every_head


def test_an_unknown_plug_in_is_neither_cheap_nor_costly() -> None:
    known = {kind: each for kind, each in TABLE.extra.items() if kind != "rational"}
    table = replace(TABLE, extra=known)
    config = config_of({"basis": "rational"})
    assert table.lacks(config.attention)
    assert (
        epoch_s({"basis": "softmax"})
        < table.epoch_s(config, TABLE.speed)
        < epoch_s({"basis": "meyer"})
    )


def test_the_costliest_of_several_entries_counts() -> None:
    both = {"basis": "meyer", "operator_order": "phi_w"}
    assert kinds_of(AttentionConfig.from_settings(both)) == ["meyer", "operator_order phi_w"]
    assert epoch_s(both) >= epoch_s({"basis": "meyer"})


def test_a_mechanism_without_scores_takes_some_time_however_many_tokens() -> None:
    static = {"mechanism": "static", "rank": 4}
    sections = {"name": "vit_micro", "patch_size": 1}
    assert 0 < epoch_s(static, **sections) < epoch_s({"basis": "softmax"}, **sections)


def test_the_table_says_how_it_was_made_and_where(tmp_path: Path) -> None:
    import json

    from karat.forecast.speed.step_costs import TABLE as PATH

    data = json.loads(PATH.read_text())
    assert data["made_by"] == "python -m benchmarks.step_costs"
    assert "torch" in data["machine"]


def test_the_speed_of_this_machine_is_measured_in_passing() -> None:
    speed = measured_speed()
    assert speed.multiply_adds_per_s > 0
    assert speed.rounds_per_s > 0
