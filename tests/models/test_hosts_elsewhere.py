"""The new hosts in transfer, analyses, the health of attention, and with images of other sizes."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import karat
from karat.analyses import attention_maps, functions, similarity, spectra
from karat.errors import AnalysisError, HostError, InputError
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.convert import convert
from karat.models.hosts import attention_layers
from karat.models.starting.taking import take
from karat.models.transfer import transfer
from karat.training.watching.gradients import norms, pieces_of
from tests.models import small_hosts as small
from tests.models.small_hosts import SMALL_HOSTS
from tests.models.test_hosts import FOURIER, images, larger

AT_64: dict[str, Callable[..., nn.Module]] = {
    "EVA-02": small.rotary,
    "RoPE, mixed": functools.partial(small.rotary, attn_type="rope", rope_type="mixed"),
    "BEiT": small.with_table,
    "BEiT, shared": functools.partial(
        small.with_table, use_rel_pos_bias=False, use_shared_rel_pos_bias=True
    ),
    "relative positions": functools.partial(small.relative, rel_pos_type="bias"),
    "relative positions, network": functools.partial(
        small.relative, class_token=False, global_pool="avg"
    ),
    "SAM": small.sam,
    "Swin v2": functools.partial(small.cosine_windows, window_size=4),
    "CoAtNet": small.coatnet,
    "MaxViT": small.maxvit,
}


def made(make: Callable[..., nn.Module], **more: Any) -> nn.Module:
    return larger(convert(make(**more), FOURIER))


@pytest.mark.parametrize("host", SMALL_HOSTS)
@torch.no_grad()
def test_transfer_to_the_same_size_is_a_copy(host: str) -> None:
    source, target = (larger(convert(SMALL_HOSTS[host](), FOURIER)) for _ in range(2))
    transfer(source, target)
    assert torch.equal(target(images()), source(images()))


@pytest.mark.parametrize("host", AT_64)
def test_transfer_to_a_larger_image_runs_and_learns(host: str) -> None:
    source = made(AT_64[host])
    size = {"img_size": 64}
    target = made(AT_64[host], **size)
    transfer(source, target)
    for old, new in zip(attention_layers(source), attention_layers(target), strict=True):
        before, after = (each.block.attn.operator for each in (old, new))
        assert after.num_tokens == new.keys
        if old.keys == new.keys:
            assert all(map(torch.equal, before.parameters(), after.parameters()))
    target(torch.randn(2, 3, 64, 64)).square().sum().backward()


def test_transfer_of_naflex_follows_the_image_size_that_is_asked_for() -> None:
    source = made(small.naflex)
    target = larger(convert(small.naflex(), FOURIER, image_size=64))
    transfer(source, target)
    (old, *_), (new, *_) = attention_layers(source), attention_layers(target)
    before, after = (each.block.attn.operator.weight for each in (old, new))
    assert (before.shape[1], after.shape[1]) == (17, 65)
    torch.testing.assert_close(after[:, :1], before[:, :1])  # of the class token
    assert target(torch.randn(2, 3, 64, 64)).isfinite().all()


@pytest.mark.parametrize(
    ("make", "size", "reason"),
    [
        (small.pvt, {}, "keys are those of a smaller map than queries"),
        (small.units, {"img_size": (64, 64)}, "Hiera orders tokens by mask units"),
    ],
)
def test_transfer_of_operators_off_the_grid_is_refused_with_the_reason(
    make: Callable[..., nn.Module], size: dict[str, Any], reason: str
) -> None:
    source, target = convert(make(), FOURIER), convert(make(**size), FOURIER, image_size=64)
    with pytest.raises(HostError, match=rf"\.attn: an operator of .* since in this model {reason}"):
        transfer(source, target)


@pytest.mark.parametrize("host", ["BEiT", "SAM", "MaxViT", "EVA-02"])
def test_training_starts_from_weights_of_another_image_size(host: str) -> None:
    source, target = AT_64[host](), AT_64[host](img_size=64)
    taken = take(target, source.state_dict())
    assert taken.taken == len(target.state_dict())


def test_mechanism_of_any_tokens_serves_images_of_any_size() -> None:
    for make in (small.pvt, small.naflex):
        model = convert(make(), {"mechanism": "pointwise", "basis": "fourier"})
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 5)
        model = convert(make(), FOURIER)
        with pytest.raises(ValueError, match="this operator was made for"):
            model(torch.randn(1, 3, 64, 64))
        assert convert(make(), FOURIER, image_size=64)(torch.randn(1, 3, 64, 64)).shape == (1, 5)


def test_unknown_image_size_and_one_that_is_too_small_are_refused() -> None:
    model = small.pvt()
    model.pretrained_cfg = None
    with pytest.raises(InputError, match=r"images of any size.*karat\.convert.*image_size=224"):
        convert(model, FOURIER)
    with pytest.raises(InputError, match="no tokens left: the images are too small"):
        build_model(
            ModelConfig(name="pvt_v2_b0"),
            karat.AttentionConfig(basis="fourier"),
            image_size=8, channels=3, classes=5, seed=0,
        )  # fmt: skip


# -- analyses ---------------------------------------------------------------------------------

WITHOUT_CLASS_TOKEN = ("PVT v2", "Hiera", "MaxViT", "SAM", "Swin v2", "relative positions, network")


@pytest.mark.parametrize("host", WITHOUT_CLASS_TOKEN)
def test_attention_maps_need_a_class_token(host: str) -> None:
    with pytest.raises(AnalysisError, match="has no class token"):
        attention_maps(SMALL_HOSTS[host]().eval(), images(8))


@pytest.mark.parametrize("host", ["EVA-02", "BEiT", "NaFlex"])
def test_attention_maps_of_hosts_with_a_class_token(host: str) -> None:
    found = attention_maps(larger(convert(SMALL_HOSTS[host](), FOURIER)), images(8))
    assert found.grid.tolist() == [4, 4]


def test_a_register_is_no_class_token() -> None:
    model = small.rotary(class_token=False, num_reg_tokens=1).eval()
    with pytest.raises(AnalysisError, match="has no class token"):
        attention_maps(model, images(8))


@pytest.mark.parametrize("host", ["PVT v2", "Hiera"])
def test_content_of_pairs_needs_queries_and_keys_that_are_the_same_tokens(host: str) -> None:
    with pytest.raises(AnalysisError, match=r"queries and .* keys, which are not the same tokens"):
        functions(larger(convert(SMALL_HOSTS[host](), FOURIER)), images(8))


@pytest.mark.parametrize("host", ["EVA-02", "BEiT", "SAM", "Swin v2", "MaxViT", "CoAtNet"])
def test_content_of_pairs_is_found_elsewhere(host: str) -> None:
    found = functions(larger(convert(SMALL_HOSTS[host](), FOURIER)), images(8))
    assert ((found.moments >= -1e-6) | (found.moments != found.moments)).all()


@pytest.mark.parametrize("host", SMALL_HOSTS)
def test_similarity_of_every_host(host: str) -> None:
    model = larger(SMALL_HOSTS[host]())
    found = similarity(model, images(8))
    widths = {layer.block.attn.proj.weight.shape[0] for layer in attention_layers(model)}
    assert found.features.shape[-1] == max(widths)


def test_spectra_of_fewer_keys_than_queries_have_as_many_values_as_keys() -> None:
    model = larger(
        convert(
            small.pvt(
                depths=(2,), embed_dims=(16,), num_heads=(2,), sr_ratios=(2,), mlp_ratios=(2,)
            ),
            FOURIER,
        )
    )
    assert spectra(model, images(4)).after.shape[2] == 16
    with pytest.raises(AnalysisError, match="blocks differ in heads or tokens"):
        spectra(larger(small.units()), images(4))


@pytest.mark.parametrize("host", SMALL_HOSTS)
def test_gradients_of_single_heads_are_those_of_their_own_rows(host: str) -> None:
    """The norms of all heads together are those of the parameters that belong to single heads."""
    model = convert(SMALL_HOSTS[host](), FOURIER).train(False)
    layers = attention_layers(model)
    pieces = pieces_of(layers)
    model(images()).square().sum().backward()
    gradients = [piece.parameter.grad for piece in pieces]
    found = norms(pieces, gradients, layers)
    total = sum(float(each.square().nansum()) for each in found)
    wanted = sum(float(each.square().sum()) for each in gradients if each is not None)
    assert total == pytest.approx(wanted, rel=1e-4)
    assert all(len(each) == layer.num_heads for each, layer in zip(found, layers, strict=True))
