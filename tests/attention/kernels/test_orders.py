"""Every order, the full rank, projections and dropout of the weights go through kernels, with the same results."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import saved_bytes
from karat.attention.config import AttentionConfig
from karat.attention.heads import make_operator
from karat.attention.kernels import _operations
from karat.attention.operator import Operator, scaled_scores

BATCH, HEADS, TOKENS, WIDTH, RANK = 2, 4, 19, 8, 5
SCALE = WIDTH**-0.5
BASES: list[dict[str, Any]] = [
    {"basis": "fourier", "grid_size": 3},
    {"basis": "bspline", "base_activation": "silu"},
    {"basis": "rational"},
    {"basis": "morlet", "base_activation": "gelu", "unit_scales": False},
]
FORMS: list[dict[str, Any]] = [
    {"operator_order": "phi_w", "rank": RANK},
    {"operator_order": "phi_w", "rank": RANK, "projection": "softmax"},
    {"operator_order": "phi_phi", "rank": RANK},
    {"operator_order": "phi_phi", "rank": RANK, "projection": "simplex"},
    {"rank": "full"},
    {"rank": "full", "projection": "softmax"},
    {"rank": RANK, "projection": "simplex"},
]


def operator_of(settings: Mapping[str, Any], kernel: str = "recompute") -> Operator:
    config = AttentionConfig.from_settings(
        {
            "head_sharing": "grouped",
            "head_groups": 2,
            "output_scale": "learned",
            "kernel": kernel,
            **settings,
        }
    )
    made: Operator = make_operator(config, HEADS, TOKENS, torch.Generator().manual_seed(3))
    return made


def qkv_of(dtype: torch.dtype = torch.float32) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(3, BATCH, HEADS, TOKENS, WIDTH, generator=draw).to(dtype).requires_grad_()


def results(operator: Operator, qkv: Tensor, dropout: float = 0.0) -> list[Tensor]:
    """The output and all gradients."""
    torch.manual_seed(7)
    out = operator.attend(qkv, SCALE, dropout)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    learned = [each for each in operator.parameters() if each.requires_grad]
    return [out, *torch.autograd.grad((out * weight).sum(), [qkv, *learned])]


def exact(settings: Mapping[str, Any]) -> list[Tensor]:
    """By autograd in float64, with every score and weight formed."""
    qkv = qkv_of(torch.float64)
    operator = operator_of(settings, "reference").double()
    q, k, v = qkv
    out = operator.of_scores(scaled_scores(q, k, SCALE), v)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    learned = [each for each in operator.parameters() if each.requires_grad]
    return [out, *torch.autograd.grad((out * weight).sum(), [qkv, *learned])]


def check(got: list[Tensor], want: list[Tensor]) -> None:
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(
            one.double(), other, rtol=1e-4, atol=2e-5 * float(other.detach().abs().max() + 1e-3)
        )


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("basis", BASES, ids=str)
def test_output_and_gradients_are_those_of_the_formula(
    basis: dict[str, Any], form: dict[str, Any]
) -> None:
    settings = {**basis, **form}
    check(results(operator_of(settings), qkv_of()), exact(settings))


@pytest.mark.parametrize("form", FORMS[::2], ids=str)
@pytest.mark.parametrize("basis", BASES[::2], ids=str)
def test_blocks_of_torch_operations_give_the_same(
    basis: dict[str, Any], form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_operations, "compiled_basis", lambda *arguments: None)
    settings = {**basis, **form}
    check(results(operator_of(settings), qkv_of()), exact(settings))


@pytest.mark.parametrize("kernel", ["recompute", "reference"])
@pytest.mark.parametrize(
    "settings",
    [
        {**BASES[0], "rank": RANK},
        {**BASES[2], "rank": RANK, "projection": "softmax"},
        {**BASES[0], "rank": "full"},
        {**BASES[0], "rank": RANK, "operator_order": "phi_w"},
        {**BASES[0], "rank": RANK, "operator_order": "phi_phi"},
    ],
    ids=str,
)
def test_dropout_drops_single_weights_and_scales_the_others(
    settings: dict[str, Any], kernel: str
) -> None:
    operator, qkv, share = operator_of(settings, kernel), qkv_of(), 0.4
    out, of_qkv, *_ = results(operator, qkv, share)
    q, k, v = qkv
    weights = operator.weights(scaled_scores(q, k, SCALE))
    torch.manual_seed(7)
    factors = F.dropout(torch.ones(weights.shape), share)
    want = (weights * factors) @ v
    weight = torch.linspace(-1, 1, want.numel()).view(want.shape)
    torch.testing.assert_close(out, want, rtol=1e-4, atol=1e-4)
    (of_want,) = torch.autograd.grad((want * weight).sum(), [qkv])
    torch.testing.assert_close(of_qkv, of_want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[4]], ids=str)
def test_neither_scores_nor_weights_are_kept(form: dict[str, Any]) -> None:
    operator, qkv = operator_of({**BASES[0], **form}), qkv_of()
    given = [qkv, *operator.parameters()]
    kept = saved_bytes(lambda: operator.attend(qkv, SCALE), given)
    assert kept < 4 * BATCH * HEADS * TOKENS * TOKENS


def test_a_mask_forms_weights_in_every_order() -> None:
    keep = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    for form in FORMS[::2]:
        operator, qkv = operator_of({**BASES[0], **form}, "auto"), qkv_of()
        q, k, v = qkv
        want = operator.of_scores(scaled_scores(q, k, SCALE), v, keep)
        torch.testing.assert_close(operator.attend(qkv, SCALE, keep=keep), want)
