"""Transfer of weights between models: exact where possible, otherwise close."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from karat.attention.operator import Operator
from karat.errors import HostError, InputError
from karat.models.convert import convert
from karat.models.hosts import attention_layers
from karat.models.transfer import resample_tokens, transfer
from tests.models.test_models import FOURIER, convit, deit, swin, vit


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def made(make: Callable[..., nn.Module], seed: int, **settings: Any) -> nn.Module:
    """A converted model with operators as large as after training."""
    torch.manual_seed(seed)
    model = convert(make(), {**FOURIER, "gated_blocks": True, **settings}).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Operator):
                for parameter in module.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"grid_size": 2}, {"grid_size": 4}),
        ({"block_sharing": "universal"}, {}),
        ({"head_sharing": "shared"}, {}),
        ({"head_sharing": "shared", "output_scale": "learned"}, {"output_scale": "learned"}),
        ({"block_sharing": "universal", "head_sharing": "shared"}, {"grid_size": 4}),
        ({"operator_order": "phi_w", "grid_size": 2}, {"operator_order": "phi_w", "grid_size": 4}),
        ({"operator_order": "phi_phi", "head_sharing": "shared"}, {"operator_order": "phi_phi"}),
        ({"rank": "full", "block_sharing": "universal"}, {"rank": "full"}),
        ({"unit_scales": False}, {"unit_scales": False, "grid_size": 3}),
        ({"heads": [0, 2]}, {"heads": [0, 2], "grid_size": 5}),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [vit, convit], ids=lambda make: make.__name__)
def test_finer_grid_and_less_sharing_give_the_same_output_exactly(
    make: Callable[[], nn.Module], before: dict[str, Any], after: dict[str, Any]
) -> None:
    if make is convit and before.get("block_sharing") == "universal":
        before, after = ({**each, "gated_blocks": False} for each in (before, after))
    source, target = made(make, 0, **before), made(make, 1, **after)
    wanted = source(images())
    assert not torch.allclose(target(images()), wanted)
    assert transfer(source, target) is target
    torch.testing.assert_close(target(images()), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [vit, deit, convit, swin], ids=lambda make: make.__name__)
def test_same_resolution_is_a_copy_bit_for_bit(make: Callable[[], nn.Module]) -> None:
    source, target = made(make, 0), made(make, 1)
    transfer(source, target)
    assert torch.equal(target(images()), source(images()))


@pytest.mark.parametrize("order", ["w_phi", "phi_w", "phi_phi", "full"])
@pytest.mark.parametrize("output_scale", [1, "1/N", "1/sqrt(N)"])
def test_smooth_image_gives_nearly_the_same_output_at_twice_the_resolution(
    order: str, output_scale: object
) -> None:
    """A token of an image and its counterpart in the enlarged image have sums of the same size."""
    settings = {"rank": "full"} if order == "full" else {"operator_order": order, "rank": 4}
    settings |= {"output_scale": output_scale, "base_activation": "silu"}

    host = functools.partial(vit, depth=1, class_token=False, global_pool="avg")
    source = made(host, 0, **settings)
    target = made(functools.partial(host, img_size=64), 1, **settings)
    transfer(source, target)
    attention, enlarged = source.blocks[0].attn, target.blocks[0].attn  # type: ignore[index,union-attr]
    token = torch.randn(1, 1, 24)
    before = attention(token.expand(1, 16, 24)) - attention.proj.bias
    after = enlarged(token.expand(1, 64, 24)) - enlarged.proj.bias
    torch.testing.assert_close(after[:, :1], before[:, :1], rtol=0.05, atol=0.02)


def test_swin_is_transferred_to_other_windows_in_every_stage() -> None:
    source = made(swin, 0)
    target = made(functools.partial(swin, img_size=64, window_size=8), 1)
    transfer(source, target)
    tokens = [layer.num_tokens for layer in attention_layers(target)]
    assert [layer.num_tokens for layer in attention_layers(source)] == [16] * 4
    assert tokens == [64] * 4
    target(images(64)).square().sum().backward()
    same = made(functools.partial(swin, img_size=64), 1)  # more windows of the same size
    transfer(source, same)
    for old, new in zip(attention_layers(source), attention_layers(same), strict=True):
        for name, value in old.block.attn.state_dict().items():
            assert torch.equal(value, new.block.attn.state_dict()[name]), name


@pytest.mark.parametrize("make", [vit, deit, convit], ids=lambda make: make.__name__)
def test_model_trained_at_32_pixels_runs_and_learns_at_64(make: Callable[..., nn.Module]) -> None:
    source, target = made(make, 0), made(functools.partial(make, img_size=64), 1)
    transfer(source, target)
    for old, new in zip(attention_layers(source), attention_layers(target), strict=True):
        before, after = (s.block.attn.operator.phi.coefficients["cos"] for s in (old, new))
        prefix = old.prefix_tokens
        assert torch.equal(before[:, :, :prefix], after[:, :, :prefix])
        assert after.shape[2] == prefix + 64
    target.train()
    target(images(64)).square().sum().backward()


def test_softmax_source_leaves_the_operators_at_their_initial_weights() -> None:
    source = vit(num_classes=7)
    target = made(vit, 1)
    start = {k: v.clone() for k, v in target.state_dict().items()}
    transfer(source, target)
    for name, value in target.state_dict().items():
        kept = ".attn.operator." in name or name.startswith("head.")
        wanted = start[name] if kept else source.state_dict()[name]
        assert torch.equal(value, wanted), name


@pytest.mark.parametrize("kept", [[0, 2], None])
def test_operators_that_would_be_dropped_are_refused(kept: list[int] | None) -> None:
    source = made(vit, 0)
    target = vit() if kept is None else made(vit, 1, blocks=kept)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    where = "blocks.0.attn and 2 more" if kept is None else "blocks.1.attn"
    with pytest.raises(HostError, match=f"^{where}: the source has an operator .* karat.convert"):
        transfer(source, target)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_resampling_keeps_constants_and_prefix_tokens() -> None:
    tokens = torch.cat([torch.tensor([5.0, -3.0]), torch.full((16,), 2.0)]).view(1, 18, 1)
    grown = resample_tokens(tokens, 1, (4, 4), (6, 5), prefix=2)
    assert grown.shape == (1, 32, 1)
    assert grown[0, :2, 0].tolist() == [5.0, -3.0]
    torch.testing.assert_close(grown[0, 2:, 0], torch.full((30,), 2.0))


def test_resampling_follows_the_patch_grid() -> None:
    column = torch.arange(4.0).repeat(4)  # each row of patches 0 1 2 3
    grown = resample_tokens(column.view(1, 16), 1, (4, 4), (8, 8), prefix=0).view(8, 8)
    assert torch.equal(grown[0], grown[7])
    assert (grown[0].diff() >= 0).all()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ({"grid_size": 4}, {"grid_size": 2}, "cannot be transferred exactly"),
        ({}, {"block_sharing": "universal"}, "operators of different blocks"),
        ({}, {"head_sharing": "shared"}, "attention.head_sharing: 3 operators cannot be transferred to 1"),
        ({"rank": 2}, {"rank": 4}, "attention.rank: 2 cannot be transferred to 4"),
        ({"operator_order": "phi_w"}, {}, "attention.operator_order: phi_w cannot be transferred"),
        ({"heads": [0, 1]}, {"heads": [0, 2]}, "the target has other KArAt heads"),
    ],
)  # fmt: skip
def test_impossible_transfer_is_refused_and_changes_nothing(
    source: dict[str, Any], target: dict[str, Any], message: str
) -> None:
    ours, theirs = made(vit, 0, **source), made(vit, 1, **target)
    before = {k: v.clone() for k, v in theirs.state_dict().items()}
    with pytest.raises(InputError, match=message):
        transfer(ours, theirs)
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())


def test_other_architectures_are_refused() -> None:
    with pytest.raises(
        InputError, match="VisionTransformer of 3 blocks cannot be transferred to a"
    ):
        transfer(vit(), vit(depth=2))
    with pytest.raises(InputError, match="cannot be transferred to a ConVit"):
        transfer(vit(), convit())
    with pytest.raises(InputError, match="head_dim is 8 in the source, 16 in the target"):
        transfer(vit(), vit(embed_dim=48))
    with pytest.raises(InputError, match="num_heads is 3 in the source, 6 in the target"):
        transfer(vit(), vit(num_heads=6))
    with pytest.raises(InputError, match="prefix_tokens is 1 in the source, 5 in the target"):
        transfer(vit(no_embed_class=True), vit(no_embed_class=True, reg_tokens=4))
    with pytest.raises(InputError, match=r"blocks.0.*: the target does not have these weights"):
        transfer(vit(depth=1, init_values=0.1), vit(depth=1))
    with pytest.raises(InputError, match="do not fit"):
        transfer(vit(mlp_ratio=2), vit())
    settings = {"operator_order": "phi_w", "projection": "softmax", "output_scale": "1/N"}
    larger = made(functools.partial(vit, img_size=64), 1, **settings)
    with pytest.raises(InputError, match="1/N of a projected row cannot be transferred"):
        transfer(made(vit, 0, **settings), larger)
