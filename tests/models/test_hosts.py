"""Every family of hosts: a wrapper computes what timm's module does, and carries any mechanism."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from karat.attention.mechanisms import MECHANISMS
from karat.attention.mechanisms.softmax import Softmax
from karat.attention.part import MechanismPart
from karat.errors import CombinationError, KernelError
from karat.models.content import without_content
from karat.models.convert import convert, wrapped
from karat.models.hosts import attention_layers
from karat.models.layers import AttentionLayer
from karat.models.observing import observed
from tests.attention.mechanisms.test_contract import settings
from tests.marks import further
from tests.models.small_hosts import SMALL_HOSTS, naflex

OTHERS = sorted(set(MECHANISMS) - {"softmax"})

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


def why_refused(name: str, layers: list[AttentionLayer]) -> str:
    """What the refusal of a mechanism says; empty where it is possible."""
    square = all(layer.keys == layer.num_tokens for layer in layers)
    biased = any(layer.has_bias for layer in layers)
    rotated = any(layer.is_rotated for layer in layers)
    if name == "differential" and (biased or rotated):
        return "position bias belongs to one" if biased else "has rotated them"
    if name == "gated" and any(layer.pools_queries for layer in layers):
        return "pools queries"
    if name in ("static", "sinkhorn") and not square:
        return "queries"
    if name == "sinkhorn" and any(layer.is_masked for layer in layers):
        return "masked pairs"
    if name in ("static", "uniform") and (biased or rotated):
        return "without effect"
    return ""


ONE_OF_EACH = ("DINOv3", "EVA", "BEiT", "SAM", "NaFlex", "Swin v2", "MaxViT", "PVT v2", "Hiera")


@pytest.mark.parametrize("host", ONE_OF_EACH)
@pytest.mark.parametrize("name", OTHERS)
def test_mechanism_trains_in_a_host_or_is_refused_with_the_reason(host: str, name: str) -> None:
    model = SMALL_HOSTS[host]()
    before = dict(model.named_modules())
    if reason := why_refused(name, attention_layers(model)):
        with pytest.raises(CombinationError, match=f"attention.mechanism = {name}: .*{reason}"):
            convert(model, settings(name))
        assert dict(model.named_modules()) == before
        return
    convert(model, settings(name))
    model(images()).square().sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("host", ["EVA-02", "PVT v2", "PVT v2, linear", "Hiera"])
@pytest.mark.parametrize("basis", ["fourier", "chebyshev", "rational"])
def test_kernel_gives_what_the_weights_give(host: str, basis: str) -> None:
    """Also with other numbers of queries and keys."""
    model = convert(SMALL_HOSTS[host](), {"basis": basis, "rank": 3})
    model = larger(model)
    with observed(model):
        wanted = model(images())
    torch.testing.assert_close(model(images()), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("host", ["EVA-02", "DINOv3", "RoPE, grouped keys"])
@pytest.mark.parametrize("kind", ["none", "causal", "key-only", "numbers"])
@torch.no_grad()
def test_masks_are_those_of_timm(host: str, kind: str) -> None:
    model = larger(SMALL_HOSTS[host]())
    layer = attention_layers(model)[0]
    timms, x = layer.block.attn, torch.randn(2, layer.num_tokens, layer.width)
    patches = layer.num_tokens - layer.prefix_tokens
    rope = torch.randn(patches, 2 * layer.head_dim)
    mask = None
    if kind == "key-only":
        mask = torch.zeros(2, 1, 1, layer.num_tokens)
        mask[1, :, :, -3:] = torch.finfo(mask.dtype).min
    elif kind == "numbers":
        mask = torch.randn(layer.num_tokens, layer.num_tokens)
    more = {"rope": rope, "attn_mask": mask, "is_causal": kind == "causal"}
    ours = wrapped(layer, MechanismPart(Softmax(), layer.place)).eval()
    torch.testing.assert_close(ours(x, **more), timms(x, **more), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("host", SMALL_HOSTS)
@torch.no_grad()
def test_without_content_no_score_depends_on_the_image(host: str) -> None:
    model = larger(SMALL_HOSTS[host]())
    before = model(images())
    with without_content(model), observed(model) as seen:
        model(images())
    for each in seen:
        assert each.scores is not None
        by_image = each.scores.reshape(2, each.layer.windows, *each.scores.shape[1:])
        torch.testing.assert_close(by_image[0], by_image[1])
        if not each.layer.has_bias:
            assert not by_image.any()
    assert torch.equal(model(images()), before)


@pytest.mark.parametrize("host", SMALL_HOSTS)
@torch.no_grad()
def test_copy_and_state_dict_give_the_same_output(host: str) -> None:
    model, again = (convert(SMALL_HOSTS[host](), FOURIER).eval() for _ in range(2))
    wanted = model(images())
    again.load_state_dict(model.state_dict())
    for other in (again, copy.deepcopy(model)):
        torch.testing.assert_close(other(images()), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("host", ["SAM", "BEiT", "Swin v2", "MaxViT", "relative positions"])
def test_named_kernel_is_refused_where_the_host_adds_to_the_scores(host: str) -> None:
    with pytest.raises(KernelError, match="kernel recompute: does not form attention weights"):
        convert(SMALL_HOSTS[host](), {**FOURIER, "kernel": "recompute"})


@pytest.mark.parametrize("host", further(SMALL_HOSTS))
@torch.no_grad()
def test_export_gives_the_same_output_for_any_batch(host: str) -> None:
    model = larger(convert(SMALL_HOSTS[host](), FOURIER))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images(2),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images(5)), model(images(5)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("host", SMALL_HOSTS)
@torch.no_grad()
def test_model_made_without_memory_is_the_same_after_loading(host: str) -> None:
    """Position indices and biases of the wrappers are computed again, as timm does after loading."""
    wanted = larger(convert(SMALL_HOSTS[host](), FOURIER))
    with torch.device("meta"):
        empty = convert(SMALL_HOSTS[host](), FOURIER)
    loaded = empty.to_empty(device="cpu").eval()
    loaded.load_state_dict(wanted.state_dict())
    for name, buffer in wanted.named_buffers():  # timm's own
        loaded.get_buffer(name).copy_(buffer)
    for layer in attention_layers(loaded):
        module = layer.block.attn
        if hasattr(module, "init_non_persistent_buffers"):
            own = dict(module.named_buffers(recurse=False))
            for buffer in own.values():
                buffer.fill_(0)
            module.init_non_persistent_buffers()
    torch.testing.assert_close(loaded(images()), wanted(images()))


def sequences(length: int = 16) -> dict[str, torch.Tensor]:
    """Two images as sequences of patches for NaFlex, the second with four places that are padding."""
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], -1).repeat(2, 1, 1)
    valid = torch.ones(2, 16, dtype=torch.bool)
    valid[1, 12:] = False
    patches = torch.randn(2, 16, 3 * 8 * 8, generator=torch.Generator().manual_seed(0))
    found = {"patches": patches, "patch_coord": places, "patch_valid": valid}
    return {name: value[:, :length] for name, value in found.items()}


@pytest.mark.parametrize("rope", ["none", "axial"])
@torch.no_grad()
def test_naflex_takes_sequences_of_the_operators_length_and_hides_their_padding(rope: str) -> None:
    model = larger(naflex(rope_type=rope, embed_proj_type="linear"))
    wanted = model(sequences())
    softmax = copy.deepcopy(model)
    for layer in attention_layers(softmax):
        layer.block.attn = wrapped(layer, MechanismPart(Softmax(), layer.place))
    torch.testing.assert_close(softmax(sequences()), wanted, rtol=1e-5, atol=1e-5)
    convert(model, FOURIER)
    changed = sequences()
    changed["patches"][1, 12:] += 5
    torch.testing.assert_close(model(changed), model(sequences()), rtol=0, atol=0)
    with pytest.raises(ValueError, match="made for 17 tokens, got 13"):
        model(sequences(length=12))
