"""A model with the frozen attention of another, and values of its own."""

import pytest
import torch

from karat.errors import HostError
from karat.models.convert import convert
from karat.models.starting.given_attention import give_attention
from tests.models.starting.test_taking import images, small
from tests.models.test_models import FOURIER, convit, vit


@pytest.mark.parametrize("is_converted", [False, True])
def test_a_model_with_the_attention_of_its_twin_gives_the_twins_output(is_converted: bool) -> None:
    """Where values and the rest are the same, given attention is the giver's own."""
    giver, model = small(), small()
    model.load_state_dict(giver.state_dict())
    if is_converted:
        convert(giver, FOURIER)
    given = give_attention(model, giver).eval()
    assert torch.allclose(given(images()), giver(images()), atol=1e-5)


def test_only_values_and_the_rest_are_trained() -> None:
    giver, model = convert(small(), FOURIER), small()
    before = {k: v.clone() for k, v in giver.state_dict().items()}
    given = give_attention(model, giver).train()
    assert not giver.training
    trained = {name for name, value in given.named_parameters() if value.requires_grad}
    assert not any(name.startswith("attention_giver") for name in trained)
    assert {"blocks.0.attn.v.weight", "blocks.0.attn.proj.weight", "head.weight"} <= trained
    given(images()).square().mean().backward()
    assert all(
        value.grad is not None for name, value in given.named_parameters() if name in trained
    )
    assert all(torch.equal(value, before[name]) for name, value in giver.state_dict().items())


def test_weights_of_both_models_are_in_the_state() -> None:
    one = give_attention(small(), convert(small(), FOURIER)).eval()
    other = give_attention(small(), convert(small(), FOURIER)).eval()
    assert not torch.equal(one(images()), other(images()))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(images()), other(images()))


def test_the_width_may_differ() -> None:
    give_attention(small(embed_dim=48), small()).eval()(images())


@pytest.mark.parametrize(
    ("giver", "message"),
    [
        (lambda: small(num_heads=3), "num_heads is 3 there and 2 here"),
        (lambda: small(patch_size=4), "num_tokens is 65 there and 17 here"),
        (lambda: small(64, patch_size=16), "images are 64x64 there and 32x32 here"),
        (lambda: small(in_chans=1), "images have 1 channels there and 3 here"),
        (lambda: small(depth=3), "there are 3 blocks there and 2 here"),
        (convit, "only a plain ViT gives its attention"),
        (lambda: convert(small(), {"mechanism": "gated"}), "Gated changes values, too"),
    ],
)
def test_a_giver_that_does_not_fit_is_refused(giver: object, message: str) -> None:
    assert callable(giver)
    with pytest.raises(HostError, match=message):
        give_attention(small(), giver())


def test_a_model_with_an_operator_takes_no_attention() -> None:
    with pytest.raises(HostError, match=r"must have attention\.mechanism: softmax"):
        give_attention(convert(vit(), FOURIER), vit())
