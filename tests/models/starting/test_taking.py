"""A model started from weights: what is taken, resized, started anew, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from karat.attention.carried import weights_of
from karat.errors import HostError
from karat.models.convert import convert
from karat.models.registers import RegisterTransformer
from karat.models.starting.taking import take
from tests.models.test_models import FOURIER, convit, deit, swin, vit


def small(size: int = 32, **changes: Any) -> nn.Module:
    shape = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    model: nn.Module = VisionTransformer(img_size=size, **{**shape, **changes}).eval()
    return model


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_weights_of_the_same_shape_are_taken_bit_for_bit() -> None:
    source, target = small(), small()
    taken = take(target, source.state_dict())
    assert torch.equal(target(images()), source(images()))
    assert str(taken) == f"{len(source.state_dict())} tensors taken"


@pytest.mark.parametrize("make", [vit, deit, convit, swin], ids=lambda make: make.__name__)
def test_softmax_weights_start_an_operator_whose_own_parameters_are_fresh(
    make: Callable[[], nn.Module],
) -> None:
    source, target = make(), convert(make(), FOURIER)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    taken = take(target, source.state_dict())
    after, given = target.state_dict(), source.state_dict()
    own = [name for name in weights_of(after) if ".attn.operator." in name]
    assert own
    for name, value in weights_of(after).items():
        assert torch.equal(value, before[name] if name in own else given[name]), name
    assert f"the attention's own parameters ({len(own)} tensors; the weights have softmax)" in str(
        taken
    )


def test_another_number_of_classes_starts_the_head_anew_and_says_so() -> None:
    target = small(num_classes=5)
    head = target.get_parameter("head.weight").clone()
    taken = take(target, small().state_dict())
    assert taken.fresh == ("head (3 classes there, 5 here)",)
    assert torch.equal(target.get_parameter("head.weight"), head)


def test_more_tokens_and_other_patches_are_interpolated_and_said() -> None:
    target = small(64)
    taken = take(target, small(32).state_dict())
    assert taken.resized == ("pos_embed 1x17x24 to 1x65x24",)
    finer = small(32, patch_size=4)
    again = take(finer, small(64).state_dict())
    assert again.resized == ("patch_embed.proj.weight 24x3x8x8 to 24x3x4x4",)


def test_a_known_operator_is_transferred_to_more_tokens() -> None:
    source = convert(small(32), FOURIER)
    with_settings, without = (convert(small(64), FOURIER) for _ in range(2))
    assert not take(with_settings, source.state_dict(), source).fresh
    [why] = take(without, source.state_dict()).fresh
    assert "those of the weights have other names or shapes" in why


def test_another_mechanism_starts_its_own_parameters_anew() -> None:
    source = convert(small(), FOURIER)
    [why] = take(convert(small(), {"mechanism": "static"}), source.state_dict(), source).fresh
    assert "the target has another attention.mechanism" in why
    [left] = take(small(), source.state_dict(), source).left_out
    assert left.startswith("the operators of the weights")


def test_registers_that_the_weights_lack_start_anew() -> None:
    shape = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    target = RegisterTransformer(4, img_size=32, **shape)
    assert take(target, small().state_dict()).fresh == ("registers (4 tokens)",)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"embed_dim": 48}, ["cls_token is 1x1x24 there and 1x1x48 here", "more"]),
        ({"depth": 3}, ["blocks.2.norm1.weight is missing there and 24 here"]),
        ({"depth": 1}, ["blocks.1.", "there and missing here"]),
        ({"in_chans": 1}, ["patch_embed.proj.weight is 24x3x8x8 there and 24x1x8x8 here"]),
    ],
    ids=str,
)
def test_weights_of_another_architecture_are_refused_with_names_and_shapes(
    changes: dict[str, Any], names: list[str]
) -> None:
    target = small(**changes)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(HostError, match="another architecture") as error:
        take(target, small().state_dict())
    assert all(name in str(error.value) for name in names), error.value
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())


def test_other_heads_are_refused_where_the_model_of_the_weights_is_known() -> None:
    source = small(num_heads=3)
    with pytest.raises(HostError, match=r"blocks\.0\.attn has 3 heads there and 2 here"):
        take(small(), source.state_dict(), source)
