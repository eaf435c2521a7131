"""What timm's models do works after conversion, too."""

import copy
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
from timm.models import create_feature_extractor
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.func import functional_call
from torchvision.models.feature_extraction import create_feature_extractor as by_torchvision

from karat.attention.bases import BASES
from karat.attention.carried import weights_of
from karat.attention.mechanisms import MECHANISMS
from karat.attention.part import Part
from karat.models.convert import convert
from karat.models.hosts import attention_layers
from karat.models.starting.given_attention import give_attention
from tests.attention.mechanisms.test_contract import MORE, settings
from tests.models.small_hosts import SMALL_HOSTS
from tests.models.test_models import FOURIER, convit, deit, images, swin, vit

PLAIN: dict[str, Any] = {"vit": vit, "deit": deit, "convit": convit, "swin": swin}
HOSTS = PLAIN | SMALL_HOSTS
OTHERS = sorted(set(MECHANISMS) - {"softmax"})
OWN: list[dict[str, Any]] = [
    *(settings(name) for name in OTHERS),
    *(settings(name, **more) for name, more in MORE.items()),
    *({"basis": name, "rank": 3} for name in sorted(set(BASES) - {"fourier"})),
    {**FOURIER, "heads": [0]},
    {**FOURIER, "rank": "full"},
    {**FOURIER, "operator_order": "phi_w"},
    {**FOURIER, "operator_order": "phi_phi"},
    {**FOURIER, "projection": "simplex", "kernel": "reference"},
    {**FOURIER, "base_activation": "silu", "content": False},
]
UNIVERSAL = {**FOURIER, "block_sharing": "universal"}
HYBRID = {**FOURIER, "heads": [0]}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def made(host: str, own: dict[str, Any]) -> nn.Module:
    return convert(HOSTS[host](), {**own, "gated_blocks": host == "convit"}).eval()


def operators(model: nn.Module) -> list[Part]:
    return [layer.block.attn.operator for layer in attention_layers(model)]


@pytest.mark.parametrize("own", OWN, ids=str)
def test_empty_batch_gives_an_empty_output_and_gradients_of_zero(own: dict[str, Any]) -> None:
    model = convert(vit(depth=1), own)
    out = model(torch.randn(0, 3, 32, 32))
    assert out.shape == (0, 5)
    out.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


# The others take no empty batch by themselves: timm cannot tell the size of a map or of a head.
TAKE_EMPTY = [
    *(
        "vit",
        "deit",
        "convit",
        "EVA-02",
        "EVA",
        "DINOv3",
        "Perception Encoder",
        "RoPE, grouped keys",
    ),
    *("BEiT", "relative positions", "NaFlex"),
]


@pytest.mark.parametrize("host", TAKE_EMPTY)
def test_empty_batch_passes_through_the_hosts_that_can_take_it(host: str) -> None:
    assert made(host, FOURIER)(torch.randn(0, 3, 32, 32)).numel() == 0


def test_empty_batch_passes_through_windows_and_given_attention() -> None:
    layer = attention_layers(made("swin", FOURIER))[0]  # timm's Swin itself takes no empty batch
    assert layer.block.attn(torch.randn(0, 16, layer.width)).shape == (0, 16, layer.width)
    model = give_attention(vit(), convert(vit(), FOURIER))
    assert model(torch.randn(0, 3, 32, 32)).shape == (0, 5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("host", "own"),
    [*(("vit", own) for own in OWN), *((host, FOURIER) for host in HOSTS if host != "vit")],
    ids=str,
)
def test_traced_model_gives_the_same_for_any_batch_without_karats_operations(
    host: str, own: dict[str, Any]
) -> None:
    model = made(host, own)
    traced = torch.jit.trace(model, images(2))
    torch.testing.assert_close(traced(images(3)), model(images(3)))
    assert "karat" not in "".join(node.kind() for node in traced.inlined_graph.nodes())


@pytest.mark.parametrize("own", [FOURIER, HYBRID, settings("gated")], ids=str)
@pytest.mark.parametrize("host", PLAIN)
def test_fx_feature_extraction_gives_what_a_block_gives(host: str, own: dict[str, Any]) -> None:
    model, seen = made(host, own), []
    name = "layers.1" if host == "swin" else "blocks.1"
    hook = model.get_submodule(name).register_forward_hook(lambda *args: seen.append(args[2]))
    model(images())
    hook.remove()
    found = create_feature_extractor(model, {name: "block"})(images())["block"]
    torch.testing.assert_close(found, seen[0])


def test_torchvisions_feature_extraction_works_with_the_leaves_of_timm() -> None:
    model = made("vit", FOURIER)
    leaves = {"leaf_modules": timm.layers.get_notrace_modules()}
    found = by_torchvision(model, {"blocks.1.attn": "attn"}, tracer_kwargs=leaves)
    assert found(images())["attn"].shape == (2, 17, 24)


@pytest.mark.parametrize("feature_cls", [None, "getter", "hook", "fx"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vit_tiny_patch16_224", SMALL),
        ("deit_tiny_patch16_224", SMALL),
        ("convit_tiny", {**SMALL, "embed_dim": 8, "local_up_to_layer": 1}),
        ("swin_tiny_patch4_window7_224", SWIN),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_features_only_gives_the_features_of_the_converted_model(
    name: str, shape: dict[str, Any], feature_cls: str | None
) -> None:
    asked = {**shape, "features_only": True, "feature_cls": feature_cls, "out_indices": (0, 1)}
    stock = timm.create_model(name, **asked)
    net = timm.create_model(f"karat_{name}", grid_size=2, rank=3, **asked).eval()
    assert type(net) is type(stock)
    assert net.feature_info.channels() == stock.feature_info.channels()
    x = torch.randn(2, 3, shape["img_size"], shape["img_size"])
    found = net(x)
    assert [each.shape for each in found] == [each.shape for each in stock.eval()(x)]
    parts = [module for module in net.modules() if isinstance(module, Part)]
    assert parts
    with torch.no_grad():
        for parameter in parts[0].parameters():
            parameter.add_(1.0)
    assert not torch.allclose(net(x)[-1], found[-1])
    if feature_cls != "fx":
        again = pickle.loads(pickle.dumps(net))
        torch.testing.assert_close(again(x), net(x))


@pytest.mark.parametrize(
    ("host", "own"),
    [(host, FOURIER) for host in HOSTS] + [("vit", HYBRID), ("vit", settings("gated"))],
    ids=str,
)
def test_forward_hooks_on_every_part_fire(host: str, own: dict[str, Any]) -> None:
    model, fired = made(host, own), []
    parts = [module for module in model.modules() if isinstance(module, Part)]
    for part in parts:
        part.register_forward_hook(lambda module, *_: fired.append(id(module)))
    model(images())
    assert set(fired) == {id(part) for part in parts}


def test_forward_hook_can_change_the_output() -> None:
    model = made("vit", FOURIER)
    before = model(images())
    operators(model)[0].register_forward_hook(lambda module, args, out: 0 * out)
    assert not torch.allclose(model(images()), before)


def test_checkpoint_path_takes_weights_with_softmax_and_says_what_is_drawn(tmp_path: Path) -> None:
    name, shape = "vit_tiny_patch16_224", {**SMALL, "num_classes": 5}
    softmax = timm.create_model(name, **shape)
    torch.save({"state_dict": softmax.state_dict()}, tmp_path / "softmax.pth")
    own = {"checkpoint_path": str(tmp_path / "softmax.pth"), "rank": 3}
    with pytest.warns(UserWarning, match=r"have softmax: 15 weights of the model's operators stay"):
        model = timm.create_model(f"karat_{name}", **shape, **own)
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in softmax.state_dict().items())
    torch.save(state, tmp_path / "karat.pth")
    own["checkpoint_path"] = str(tmp_path / "karat.pth")
    again = timm.create_model(f"karat_{name}", **shape, **own)
    assert torch.equal(again.eval()(images()), model.eval()(images()))


def test_weights_that_lack_some_operators_are_refused() -> None:
    model = timm.create_model("karat_vit_tiny_patch16_224", **SMALL)
    without = {k: v for k, v in model.state_dict().items() if "blocks.1.attn.operator" not in k}
    with pytest.raises(RuntimeError, match=r"Missing key.*blocks.1.attn.operator"):
        model.load_state_dict(without)
    with pytest.raises(RuntimeError, match=r"Missing key.*blocks.0.attn.operator"):
        convert(vit(), FOURIER).load_state_dict(vit().state_dict())  # no model of timm's registry


# -- shared operators -------------------------------------------------------------------------


@pytest.mark.parametrize("own", [FOURIER, UNIVERSAL], ids=["blockwise", "universal"])
def test_functional_call_untied_gives_output_and_gradients_and_leaves_the_model(
    own: dict[str, Any],
) -> None:
    model, other = made("vit", own), made("vit", own)
    before, wanted = model(images()), other(images())
    given = dict(other.named_parameters())

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        out = functional_call(model, parameters, (images(),), tie_weights=False)
        torch.testing.assert_close(out.detach(), wanted.detach())
        return out.square().mean()

    asked = {name: each for name, each in given.items() if each.requires_grad}
    found = torch.autograd.grad(loss(given), list(asked.values()))
    other(images()).square().mean().backward()
    for name, gradient in zip(asked, found, strict=True):
        torch.testing.assert_close(gradient, given[name].grad, msg=name)
    assert torch.equal(model(images()), before)


@pytest.fixture(scope="module")
def _process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def sharded(model: nn.Module) -> nn.Module:
    """By FSDP2, with a group for each operator before those of the blocks."""
    for operator in dict.fromkeys(operators(model)):
        fully_shard(operator)
    for layer in attention_layers(model):
        fully_shard(layer.block)
    fully_shard(model)
    return model


SHARED = {
    "blockwise": FOURIER,
    "universal": UNIVERSAL,
    "universal hybrid": {**UNIVERSAL, "heads": [0]},
    "gated": settings("gated"),
}
EVERYWHERE = StateDictOptions(full_state_dict=True)
FROM_ONE = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


@pytest.mark.parametrize("own", SHARED.values(), ids=SHARED)
@pytest.mark.usefixtures("_process_group")
def test_fsdp_trains_as_one_process_does(own: dict[str, Any]) -> None:
    alone = convert(vit(depth=2), own)
    model = sharded(copy.deepcopy(alone))
    for each in (alone, model):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        for _ in range(2):
            each(images()).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(model(images()), alone(images()))
    found = get_model_state_dict(model, options=EVERYWHERE)
    assert found.keys() <= alone.state_dict().keys()
    again = convert(vit(depth=2), own)
    again.load_state_dict(found)
    torch.testing.assert_close(again(images()), alone(images()))


@pytest.mark.parametrize("options", [EVERYWHERE, FROM_ONE], ids=["everywhere", "from rank 0"])
@pytest.mark.parametrize("own", SHARED.values(), ids=SHARED)
@pytest.mark.usefixtures("_process_group")
def test_fsdp_takes_a_whole_state_dict_and_refuses_that_of_another_function(
    own: dict[str, Any], options: StateDictOptions
) -> None:
    model, other = sharded(convert(vit(depth=2), own)), convert(vit(depth=2), own)
    set_model_state_dict(model, dict(other.state_dict()), options=options)
    torch.testing.assert_close(model(images()), other(images()))
    changed = {**own, "content": False}
    with pytest.raises(ValueError, match="content is False in the weights, True in the model"):
        set_model_state_dict(
            sharded(convert(vit(depth=2), own)),
            dict(convert(vit(depth=2), changed).state_dict()),
            options=options,
        )


@pytest.mark.usefixtures("_process_group")
def test_fsdp_loads_its_own_state_dict_and_one_without_settings() -> None:
    model = sharded(convert(vit(depth=2), UNIVERSAL))
    before = model(images())
    for state in (model.state_dict(), weights_of(model.state_dict())):
        model.load_state_dict(state)
        set_model_state_dict(model, dict(state))
    torch.testing.assert_close(model(images()), before)
