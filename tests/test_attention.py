import itertools

import pytest
import torch
from torch import Tensor

from karat.attention import BASE_ACTIVATIONS, AttentionConfig, Operator
from karat.errors import CombinationError, SettingError
from karat.models import ModelConfig, build_model


def by_the_formula(operator: Operator, scores: Tensor, values: Tensor) -> Tensor:
    """O = W Φ̂(A) V, entry by entry, in the paper's order (arXiv 2503.10632, Algorithm 2)."""
    batch, heads, tokens, keys = scores.shape
    activated = torch.zeros_like(scores)
    cos, sin = operator.coefficients["cos"], operator.coefficients["sin"]
    sharing = heads // operator.weight.shape[0]
    for b, h, n in itertools.product(range(batch), range(heads), range(tokens)):
        p, row = h // sharing, scores[b, h, n]
        phi = torch.zeros(cos.shape[1], dtype=scores.dtype)
        for r, m in itertools.product(range(cos.shape[1]), range(keys)):
            unit = scores.new_zeros(())
            for k in range(1, cos.shape[-1] + 1):
                unit = unit + cos[p, r, m, k - 1] * torch.cos(k * row[m])
                unit = unit + sin[p, r, m, k - 1] * torch.sin(k * row[m])
            if operator.scale is not None:
                unit = operator.scale[p, r, m] * unit
            if operator.base_activation is not None:
                base_scale = 1.0 if operator.base_scale is None else operator.base_scale[p, r, m]
                unit = unit + base_scale * operator.base_activation(row[m])
            phi[r] = phi[r] + unit
        activated[b, h, n] = operator.weight[p] @ phi
    return activated @ values


@pytest.mark.parametrize("base", sorted(BASE_ACTIVATIONS))
@pytest.mark.parametrize("operators", [1, 2, 4])
@pytest.mark.parametrize("scales", [True, False])
def test_reordered_operator_is_the_papers(base: str, operators: int, scales: bool) -> None:
    torch.manual_seed(0)
    config = AttentionConfig(
        basis="fourier",
        rank=3,
        base_activation=base,  # type: ignore[arg-type]
        unit_scales=scales,
        basis_settings={"grid_size": 2},
    )
    operator = Operator(config, operators, 5).double()
    if operator.scale is not None and operator.base_scale is not None:
        with torch.no_grad():
            operator.scale.normal_()
            operator.base_scale.normal_()
    scores, values = torch.randn(2, 4, 5, 5).double() * 3, torch.randn(2, 4, 5, 6).double()
    torch.testing.assert_close(operator(scores, values), by_the_formula(operator, scores, values))


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    config = AttentionConfig(basis="fourier", rank=2, basis_settings={"grid_size": 3})
    operator = Operator(config, 2, 3).double()
    scores = torch.randn(1, 2, 3, 3).double().requires_grad_()
    values = torch.randn(1, 2, 3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(operator, (scores, values))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"basis": "furier"}, "attention.basis = 'furier': unknown. did you mean 'fourier'?"),
        ({"basis": "fourier", "rank": 0}, "attention.rank = 0: must be at least 1"),
        ({"basis": "fourier", "grid_size": 0}, "attention.grid_size = 0: must be at least 1"),
        ({"basis": "fourier", "head_sharing": "grouped"}, "head_groups: goes with"),
        ({"basis": "softmax", "rank": 3}, "attention.rank: does not exist for attention.basis: softmax"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_at_construction(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        AttentionConfig.from_settings(settings)
    assert message in str(caught.value)


def test_heads_that_do_not_divide_into_groups_are_refused() -> None:
    config = AttentionConfig(basis="fourier", head_sharing="grouped", head_groups=2)
    with pytest.raises(CombinationError, match="does not divide the 3 heads"):
        config.operators(3)


def test_model_keeps_the_hosts_weights_bit_for_bit() -> None:
    shape = {"image_size": 8, "channels": 1, "classes": 10, "seed": 3}
    host = build_model(ModelConfig(), AttentionConfig(), **shape).state_dict()  # type: ignore[arg-type]
    karat = build_model(ModelConfig(), AttentionConfig(basis="fourier"), **shape).state_dict()  # type: ignore[arg-type]
    assert set(host) < set(karat)
    assert all(torch.equal(value, karat[key]) for key, value in host.items())


def test_universal_sharing_is_one_operator_for_all_blocks() -> None:
    model = build_model(
        ModelConfig(),
        AttentionConfig(basis="fourier", block_sharing="universal"),
        image_size=8,
        channels=1,
        classes=10,
        seed=0,
    )
    assert len({id(m) for m in model.modules() if isinstance(m, Operator)}) == 1


def test_another_number_of_tokens_is_refused() -> None:
    model = build_model(
        ModelConfig(),
        AttentionConfig(basis="fourier"),
        image_size=8,
        channels=1,
        classes=10,
        seed=0,
    )
    with pytest.raises(ValueError, match="made for 17 tokens, got 9"):
        model.blocks[0].attn(torch.zeros(1, 9, 48))  # type: ignore[index,union-attr]
