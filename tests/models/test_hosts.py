"""Every family of hosts: a wrapper computes what timm's module does, and carries any mechanism."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from karat.attention.mechanisms.softmax import Softmax
from karat.attention.part import MechanismPart
from karat.models.convert import convert, wrapped
from karat.models.hosts import attention_layers
from karat.models.observing import observed
from tests.models.small_hosts import SMALL_HOSTS

FOURIER: dict[str, Any] = {"basis": "fourier", "rank": 2, "grid_size": 2}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def larger(model: nn.Module) -> nn.Module:
    """The model with biases and gates that have an effect: timm starts many at zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("host", SMALL_HOSTS)
@torch.no_grad()
def test_softmax_in_the_wrapper_is_timms_module(host: str) -> None:
    model = larger(SMALL_HOSTS[host]())
    wanted = model(images())
    for layer in attention_layers(model):
        layer.block.attn = wrapped(layer, MechanismPart(Softmax(), layer.place))
    torch.testing.assert_close(model(images()), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("host", SMALL_HOSTS)
def test_weights_stay_and_gradients_reach_every_parameter(host: str) -> None:
    model = SMALL_HOSTS[host]()
    before = copy.deepcopy(model.state_dict())
    convert(model, {**FOURIER, "base_activation": "silu"})
    after = {k: v for k, v in model.state_dict().items() if ".attn.operator." not in k}
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    out = model(images())
    assert out.shape == (2, 5)
    out.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("host", SMALL_HOSTS)
@torch.no_grad()
def test_layers_are_what_is_seen(host: str) -> None:
    model = larger(SMALL_HOSTS[host]())
    wanted, layers = model(images()), attention_layers(model)
    with observed(model) as seen:
        torch.testing.assert_close(model(images()), wanted, rtol=1e-4, atol=1e-4)
    for layer, each in zip(layers, seen, strict=True):
        shape = (2 * layer.windows, layer.num_heads, layer.num_tokens, layer.keys)
        assert each.weights.shape == shape
        assert each.values.shape == (*shape[:2], layer.keys, layer.head_dim)
        assert layer.name in dict(model.named_modules())
        if not layer.off_grid:
            assert layer.num_tokens == layer.prefix_tokens + layer.grid[0] * layer.grid[1]
