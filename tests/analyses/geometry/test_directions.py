"""Random directions are as long as the weights, filter by filter."""

import torch

import karat
from karat.analyses.geometry.directions import random_direction
from karat.analyses.geometry.trained import Trained
from tests.analyses.geometry.small import small_vit

FOURIER = {"basis": "fourier", "rank": 2, "grid_size": 3, "output_scale": "learned"}


def test_each_filter_of_a_direction_is_as_long_as_that_of_the_weights() -> None:
    trained = Trained(karat.convert(small_vit(init_values=0.1), FOURIER))
    weights, found = trained.parameters, trained.split(random_direction(trained, 0))
    attention = "blocks.0.attn.operator"
    inner = {
        "patch_embed.proj.weight": (1, 2, 3),
        "blocks.0.attn.qkv.weight": (1,),
        "head.weight": (1,),
        "pos_embed": (2,),
        "cls_token": (2,),
        f"{attention}.phi.coefficients.cos": (2, 3),  # one operator and output
        f"{attention}.phi.scale": (2,),
        f"{attention}.weight": (2,),
    }
    for name, dims in inner.items():
        torch.testing.assert_close(
            *(each.square().sum(dims) for each in (found[name], weights[name]))
        )
        assert found[name].unique().numel() > 1
    still = [
        *("head.bias", "norm.weight", "norm.bias", "blocks.0.ls1.gamma"),
        *("blocks.0.attn.qkv.bias", f"{attention}.output_scale"),
    ]
    assert not any(found[name].any() for name in still)
    assert set(found) >= {*inner, *still}


def test_scales_of_heads_and_filters_of_zeros_have_no_direction() -> None:
    model = karat.convert(small_vit(), {"mechanism": "pointwise", "basis": "fourier"})
    with torch.no_grad():
        model.get_parameter("head.weight").zero_()
    trained = Trained(model)
    found = trained.split(random_direction(trained, 0))
    assert not found["blocks.0.attn.operator.learned.scale"].any()
    assert not found["head.weight"].any()
    phi = "blocks.0.attn.operator.learned.phi_cos"
    torch.testing.assert_close(found[phi].norm(dim=3), trained.parameters[phi].norm(dim=3))


def test_arms_get_the_same_draws_in_what_they_share_and_other_directions_others() -> None:
    host, converted = small_vit(), karat.convert(small_vit(), FOURIER)
    one, other = (Trained(model) for model in (host, converted))
    first, same, second = (
        trained.split(random_direction(trained, number))
        for trained, number in ((one, 0), (other, 0), (one, 1))
    )
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    assert not torch.equal(first["head.weight"], second["head.weight"])


def test_what_is_not_trained_stays_where_it_is() -> None:
    model = karat.convert(small_vit(), {"mechanism": "frozen", "basis": "fourier", "rank": 2})
    names = set(Trained(model).parameters)
    assert "blocks.0.attn.operator.phi.scale" in names
    assert "blocks.0.attn.operator.phi.coefficients.cos" not in names
