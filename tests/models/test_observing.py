"""A model that is looked into gives the same answers, whatever its attention is, and is unchanged afterwards."""

from typing import Any

import pytest
import torch
from torch import Tensor

import karat
from karat.models.hosts import attention_layers
from karat.models.layers import AttentionLayer
from karat.models.observing import observed
from tests.attention.mechanisms.test_contract import settings
from tests.models.test_mechanisms import CASES, HOSTS, REFUSED
from tests.models.test_models import images, vit

ATTENTION: list[tuple[str, dict[str, Any]]] = [
    ("softmax", {}),
    *((str(name), dict(more)) for name, more in (case.values for case in CASES)),  # type: ignore[call-overload]
]
POSSIBLE = [
    (host, name, more)
    for host in sorted(HOSTS)
    for name, more in ATTENTION
    if (host, name) not in REFUSED
]
HYBRID = {"mechanism": "static", "heads": [0]}


def _made(host: str, attention: dict[str, Any]) -> torch.nn.Module:
    model: torch.nn.Module = HOSTS[host]()
    karat.convert(model, attention, generator=torch.Generator().manual_seed(1))
    return model.eval()


@pytest.mark.parametrize(("host", "name", "more"), POSSIBLE, ids=str)
@torch.no_grad()
def test_answers_are_those_of_the_model_that_nobody_looks_into(
    host: str, name: str, more: dict[str, Any]
) -> None:
    model = _made(host, settings(name, **more))
    before, kinds = model(images()), [type(each.block.attn) for each in attention_layers(model)]
    with observed(model) as seen:
        within = model(images())
    torch.testing.assert_close(within, before, rtol=1e-4, atol=1e-4)
    assert [each.layer.name for each in seen] == [each.name for each in attention_layers(model)]
    for each in seen:
        layer = each.layer
        shape = (layer.num_heads, layer.num_tokens, layer.num_tokens)
        assert each.weights.shape[1:] == shape
        assert each.scores is None or each.scores.shape == each.weights.shape
        assert each.out.shape[1:] == (layer.num_heads, layer.num_tokens, layer.head_dim)
    assert [type(each.block.attn) for each in attention_layers(model)] == kinds
    torch.testing.assert_close(model(images()), before, rtol=0, atol=0)


@torch.no_grad()
def test_softmax_is_seen_as_softmax_of_its_scores() -> None:
    model = vit().eval()
    with observed(model) as seen:
        model(images())
    for each in seen:
        assert each.scores is not None
        torch.testing.assert_close(each.weights, each.scores.softmax(-1))
        torch.testing.assert_close(each.out, each.weights @ each.values)


@torch.no_grad()
def test_heads_without_scores_have_none() -> None:
    model = karat.convert(vit(), HYBRID).eval()
    with observed(model) as seen:
        model(images())
    assert seen[0].scores is not None
    assert seen[0].scores[:, 0].isnan().all()
    assert seen[0].scores[:, 1:].isfinite().all()
    model = karat.convert(vit(), {"mechanism": "static"}).eval()
    with observed(model) as seen:
        model(images())
    assert all(each.scores is None for each in seen)


@torch.no_grad()
def test_changed_weights_change_the_answer_and_only_within_the_context() -> None:
    model = vit().eval()
    before = model(images())

    def uniform(layer: AttentionLayer, weights: Tensor) -> Tensor:
        return torch.full_like(weights, 1 / layer.num_tokens)

    with observed(model, change_weights=uniform, record=False) as seen:
        blind = model(images())
    assert not seen
    expected = karat.convert(vit(), {"mechanism": "uniform"}).eval()
    expected.load_state_dict(model.state_dict())
    torch.testing.assert_close(blind, expected(images()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(images()), before, rtol=0, atol=0)


@torch.no_grad()
def test_scores_of_zero_are_those_without_content() -> None:
    model = karat.convert(vit(), {"basis": "fourier"}).eval()
    with observed(model, change_scores=lambda _, scores: scores * 0):
        within = model(images())
    with karat.without_content(model):
        torch.testing.assert_close(within, model(images()), rtol=1e-4, atol=1e-4)


def test_a_model_in_training_is_refused_and_an_error_leaves_it_as_it_was() -> None:
    model = vit()
    with pytest.raises(ValueError, match="eval mode"), observed(model.train()):
        pass
    kinds = [type(each.block.attn) for each in attention_layers(model)]
    with pytest.raises(RuntimeError, match="boom"), observed(model.eval()):
        raise RuntimeError("boom")
    assert [type(each.block.attn) for each in attention_layers(model)] == kinds
