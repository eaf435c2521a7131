"""Operations and bytes of a training step, against torch's own counter and against real tensors."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import saved_bytes
from karat.attention.config import AttentionConfig
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.executed.bytes import step_bytes
from karat.models.executed.operations import step_operations

MODEL = ModelConfig(depth=2)
SHAPE: dict[str, Any] = {"image_size": 16, "channels": 3, "classes": 7}
FOURIER = {"basis": "fourier", "grid_size": 3, "rank": 4}
SETTINGS: list[dict[str, Any]] = [
    {"mechanism": "softmax"},
    FOURIER,
    {**FOURIER, "operator_order": "phi_phi"},
    {**FOURIER, "heads": [0]},
    {"basis": "rational", "rank": 4, "blocks": [1]},
    {"mechanism": "sparsemax"},
]


def test_products_of_softmax_match_torchs_counter() -> None:
    """Which counts no fused attention: the plain one, without scores that are computed again."""
    model = build_model(MODEL, AttentionConfig(), seed=0, **SHAPE)
    for block in model.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = False
    images = torch.randn(1, 3, 16, 16, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(images).sum().backward()
    found = step_operations(MODEL, AttentionConfig(), **SHAPE)
    again = found.attention / 7
    assert found.total - again == pytest.approx(counter.get_total_flops() / 2)


def test_what_is_executed_grows_with_the_functions_alone() -> None:
    few, many = (
        step_operations(
            MODEL, AttentionConfig.from_settings({**FOURIER, "grid_size": grid}), **SHAPE
        )
        for grid in (3, 9)
    )
    assert many.total - few.total == many.learned - few.learned > 0
    assert few.learned < few.attention < few.total


def test_a_rational_unit_executes_more_than_a_fourier_unit() -> None:
    found = [
        step_operations(MODEL, AttentionConfig.from_settings({"basis": basis, "rank": 4}), **SHAPE)
        for basis in ("fourier", "rational")
    ]
    assert found[1].learned > 1.5 * found[0].learned


def test_heads_and_blocks_that_keep_softmax_execute_softmax() -> None:
    def attention(settings: dict[str, Any]) -> float:
        return step_operations(MODEL, AttentionConfig.from_settings(settings), **SHAPE).attention

    softmax, all_of_it = attention({"mechanism": "softmax"}), attention(FOURIER)
    half = attention({**FOURIER, "blocks": [0]})
    assert half - softmax == pytest.approx((all_of_it - softmax) / 2)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_bytes_kept_are_those_that_real_tensors_keep(settings: dict[str, Any]) -> None:
    attention = AttentionConfig.from_settings(settings)
    model = build_model(MODEL, attention, seed=0, **SHAPE).train()

    def kept(count: int) -> int:
        images, labels = torch.randn(count, 3, 16, 16), torch.zeros(count, dtype=torch.long)
        given = [*model.parameters(), *model.buffers()]
        return saved_bytes(lambda: F.cross_entropy(model(images), labels), given)

    assert step_bytes(MODEL, attention, **SHAPE).kept == (kept(4) - kept(2)) / 2


def test_a_mechanism_that_stores_scores_moves_and_keeps_more() -> None:
    softmax, fourier, sparsemax = (
        step_bytes(MODEL, AttentionConfig.from_settings(settings), **SHAPE)
        for settings in (SETTINGS[0], FOURIER, {"mechanism": "sparsemax"})
    )
    assert fourier.kept <= softmax.kept < sparsemax.kept
    assert max(fourier.moved, softmax.moved) < sparsemax.moved
