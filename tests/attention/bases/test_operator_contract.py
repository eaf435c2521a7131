"""The contract of the operator for every basis, sharing and order."""

import itertools
import math
from typing import Any

import pytest
import torch

from karat.attention.bases import BASES
from karat.attention.config import AttentionConfig
from karat.attention.heads import make_operator
from karat.attention.operator import Operator
from karat.attention.units import Units
from karat.models.convert import convert
from karat.settings import build
from tests.marks import further

HEADS, TOKENS, WIDTH, RANK = 4, 5, 6, 3
SHARINGS: list[dict[str, Any]] = [
    {"head_sharing": "per_head"},
    {"head_sharing": "grouped", "head_groups": 2},
    {"head_sharing": "shared"},
]
ORDERS: list[dict[str, Any]] = [
    {"rank": RANK, "operator_order": "w_phi"},
    {"rank": RANK, "operator_order": "phi_w"},
    {"rank": RANK, "operator_order": "phi_phi"},
    {"rank": "full"},
]
CASES = list(itertools.product(sorted(BASES), SHARINGS, ORDERS))
NAMES = [f"{b}-{s['head_sharing']}-{o.get('operator_order', 'full')}" for b, s, o in CASES]


def made(basis: str, *settings: dict[str, Any], seed: int = 0) -> Operator:
    merged = {key: value for each in settings for key, value in each.items()}
    config = AttentionConfig.from_settings({"basis": basis, **merged})
    operator = make_operator(config, HEADS, TOKENS, torch.Generator().manual_seed(seed))
    assert isinstance(operator, Operator)
    return operator


def declared_parameters(operator: Operator) -> int:
    """The number of parameters according to the settings: coefficients, two scales per unit, W."""
    shapes = build(BASES[operator.config.basis], {}, "attention").coefficient_shapes()
    unit = sum(math.prod(shape) for shape in shapes.values()) + 2
    if operator.config.rank == "full":
        return operator.num_operators * TOKENS * TOKENS * unit
    units = 2 * unit if operator.config.operator_order == "phi_phi" else unit + 1
    return operator.num_operators * RANK * TOKENS * units


@pytest.mark.parametrize(("basis", "sharing", "order"), CASES, ids=NAMES)
def test_operator_fulfils_its_contract(
    basis: str, sharing: dict[str, Any], order: dict[str, Any]
) -> None:
    operator = made(basis, sharing, order)
    assert sum(p.numel() for p in operator.parameters()) == declared_parameters(operator)
    again = made(basis, sharing, order)
    for key, value in operator.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key

    scores = torch.linspace(-30, 30, 2 * HEADS * TOKENS * TOKENS).view(2, HEADS, TOKENS, TOKENS)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        asked = scores.to(dtype, copy=True).requires_grad_()
        values = torch.randn(2, HEADS, TOKENS, WIDTH, dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = operator.to(torch.promote_types(dtype, torch.float32)).of_scores(asked, values)
        assert out.shape == values.shape
        assert out.dtype == dtype
        assert torch.isfinite(out).all()
        operator.zero_grad()
        out.float().square().sum().backward()  # type: ignore[no-untyped-call]
        for tensor in (asked, *operator.parameters()):
            assert tensor.grad is None or torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize("start", ["paper", "fan_in"])
@pytest.mark.parametrize("basis", sorted(BASES))
def test_extreme_ranks_heads_and_tokens_work(basis: str, start: str) -> None:
    for rank, tokens in ((1, 2), (2, 2), ("full", 2), (17, 17)):
        config = AttentionConfig.from_settings({"basis": basis, "rank": rank, "init": start})
        out = make_operator(config, 1, tokens).of_scores(
            torch.randn(1, 1, tokens, tokens), torch.randn(1, 1, tokens, 2)
        )
        assert torch.isfinite(out).all()


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: o.get("operator_order", "full"))
@pytest.mark.parametrize("block_sharing", further(["blockwise", "universal"]))
@pytest.mark.parametrize("basis", sorted(BASES))
def test_small_training_run_lowers_the_loss(
    basis: str, block_sharing: str, order: dict[str, Any]
) -> None:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=8, patch_size=4, in_chans=1, num_classes=2, embed_dim=12, depth=2, num_heads=2
    )
    model = convert(vit, {"basis": basis, "block_sharing": block_sharing, **order})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    labels = torch.arange(32) % 2
    images = torch.randn(32, 1, 8, 8) + labels.view(-1, 1, 1, 1)
    losses = []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("basis", sorted(BASES))
def test_masked_inputs_and_base_activation_are_part_of_the_sum(basis: str) -> None:
    config = AttentionConfig.from_settings({"basis": basis, "base_activation": "identity"})
    units = Units(config, (1, RANK, TOKENS), torch.Generator().manual_seed(0)).double()
    scores = torch.randn(1, TOKENS, 7).double()
    keep = torch.tensor([1.0, 0, 1, 1, 0]).double().view(1, TOKENS, 1)
    alone = [units(scores, (torch.arange(TOKENS) == m).double().view(1, -1, 1)) for m in (0, 2, 3)]
    torch.testing.assert_close(units(scores, keep), alone[0] + alone[1] + alone[2])
