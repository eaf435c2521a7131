"""Content shares, where they are known: 0 for a static mixer, 1 for one that knows no positions."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import karat
from karat.analyses.attention.content import ContentShares, Shares, kinds_of_pairs
from karat.models.hosts import attention_layers
from karat.models.observing import observed
from tests.models.test_models import images, swin, vit


@torch.no_grad()
def shares(model: nn.Module, pictures: Tensor, size: int = 5) -> Shares:
    found = ContentShares()
    for take in (found.first, found.second):
        with observed(model.eval()) as seen:
            for part in pictures.split(size):
                seen.clear()
                model(part)
                take(seen)
    return found.found()


def converted(attention: dict[str, Any], **more: Any) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    model = karat.convert(vit(**more), attention, generator=generator)
    with torch.no_grad():
        for layer in attention_layers(model):
            layer.block.attn.qkv.weight.mul_(10)  # scores of size 1
    return model


def all_exchanges(patches: int = 4) -> Tensor:
    """An image of four patches, in all orders of its patches."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(patches, 3, 8, 8, generator=generator)
    rows = []
    for order in itertools.permutations(range(patches)):
        a, b, c, d = own[list(order)]
        rows.append(torch.cat([torch.cat([a, b], 2), torch.cat([c, d], 2)], 1))
    return torch.stack(rows)


@pytest.mark.parametrize("name", ["static", "uniform"])
def test_weights_that_are_the_same_for_all_images_have_content_share_zero(name: str) -> None:
    own = {"mechanism": name} | ({"rank": 4} if name == "static" else {})
    found = shares(converted(own), images(7))
    np.testing.assert_allclose(found.weights, 0, atol=1e-12)
    np.testing.assert_allclose(found.output, 0, atol=1e-12)
    np.testing.assert_allclose(found.kept[..., 1], 1)
    np.testing.assert_allclose(found.moments.sum(-1), 1)
    if name == "uniform":
        np.testing.assert_allclose(found.moments[..., 0], 1)


@pytest.mark.parametrize(
    "attention",
    [
        {"mechanism": "pointwise", "basis": "fourier"},
        {"mechanism": "sigmoid"},
        {"mechanism": "softmax"},
    ],
    ids=lambda attention: attention["mechanism"],
)
@pytest.mark.parametrize("more", [{}, {"class_token": False, "global_pool": "avg"}], ids=str)
def test_attention_without_positions_has_content_share_one_on_images_closed_under_exchanges(
    attention: dict[str, Any], more: dict[str, Any]
) -> None:
    model = converted(attention, img_size=16, **more).double()
    with torch.no_grad():
        model.get_parameter("pos_embed").zero_()
    found = shares(model, all_exchanges().double())
    np.testing.assert_allclose(found.weights, 1, atol=1e-9)
    np.testing.assert_allclose(found.output, 1, atol=1e-9)
    np.testing.assert_allclose(found.moments[..., 1], 0, atol=1e-12)
    # With positions it is below.
    with torch.no_grad():
        model.get_parameter("pos_embed").normal_(generator=torch.Generator().manual_seed(0))
    assert (shares(model, all_exchanges().double()).weights < 0.99).all()


def test_shares_are_those_of_the_formulas() -> None:
    model, pictures = converted({"basis": "fourier", "rank": 4, "grid_size": 2}), images(6)
    found = shares(model, pictures, size=4)
    with torch.no_grad(), observed(model) as seen:
        model(pictures)
    for block, each in enumerate(seen):
        for head in range(3):
            a, v = each.weights[:, head].double().numpy(), each.values[:, head].double().numpy()
            mean = a.mean(0)
            kind = np.zeros_like(mean)
            groups = {
                "class itself": np.eye(17)[0][:, None] * np.eye(17)[0],
                "class to patch": np.r_[1, np.zeros(16)][:, None] * np.r_[0, np.ones(16)],
                "patch to class": np.r_[0, np.ones(16)][:, None] * np.r_[1, np.zeros(16)],
                "itself": np.diag(np.r_[0, np.ones(16)]),
                "another": np.pad(1 - np.eye(16), ((1, 0), (1, 0))),
            }
            for group in groups.values():
                kind[group > 0] = mean[group > 0].mean()
            content, position = a - mean, np.broadcast_to(mean - kind, a.shape)
            total = (a**2).sum()
            wanted = [(kind**2).sum() * 6, (position**2).sum(), (content**2).sum()]
            np.testing.assert_allclose(found.moments[block, head], np.array(wanted) / total)
            np.testing.assert_allclose(
                found.weights[block, head], wanted[2] / (wanted[1] + wanted[2])
            )
            out = a @ v
            by_content, by_position = ((content @ v) ** 2).sum(), ((position @ v) ** 2).sum()
            wanted_share = by_content / (by_content + by_position)
            np.testing.assert_allclose(found.output[block, head], wanted_share)
            variance = ((out - out.mean(0)) ** 2).sum()
            np.testing.assert_allclose(found.variance[block, head], variance)
            kept = [1 - ((out - mixed @ v) ** 2).sum() / variance for mixed in (kind, mean)]
            np.testing.assert_allclose(found.kept[block, head], kept)


def test_kinds_of_pairs_tell_tokens_that_are_no_patches_apart() -> None:
    kinds = kinds_of_pairs(attention_layers(vit(reg_tokens=1))[0])
    assert kinds.shape == (18, 18)
    # 4 pairs of prefix tokens, 2 x 2 of one and a patch, a patch and itself, and another.
    assert len(kinds.unique()) == 10
    assert (kinds[2:, 2:].diagonal() == kinds[2, 2]).all()
    assert kinds[2, 3] == kinds[9, 4] != kinds[2, 2]


def test_windows_of_an_image_are_positions() -> None:
    model = swin().eval()
    found = shares(model, images(4), size=3)
    assert found.weights.shape == (4, 4)  # heads of the second stage
    assert np.isnan(found.weights[:2, 2:]).all()
    with torch.no_grad(), observed(model) as seen:
        model(images(4))
    a = seen[0].weights[:, 0].double().numpy().reshape(4, -1, 16, 16)
    assert a.shape[1] == 4
    by_content = ((a - a.mean(0)) ** 2).sum() / (a**2).sum()
    np.testing.assert_allclose(found.moments[0, 0, 2], by_content)
