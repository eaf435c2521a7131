"""Attention maps of whole models: every kind of attention, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import karat
from karat.analyses import attention_maps
from karat.analyses.attention.maps_found import MEASURES
from karat.analyses.kinds.attention_maps import AttentionMaps
from karat.analyses.pictures import svg_of
from karat.errors import AnalysisError
from karat.models.observing import observed
from tests.analyses.unchanged import leaves_all_unchanged
from tests.models.test_mechanisms import HOSTS
from tests.models.test_models import images, vit

FOURIER: dict[str, Any] = {"basis": "fourier", "rank": 4, "grid_size": 2}


def converted(attention: dict[str, Any], host: str = "vit") -> nn.Module:
    model: nn.Module = karat.convert(
        HOSTS[host](), attention, generator=torch.Generator().manual_seed(1)
    ).eval()
    return model


def value_of(found: AttentionMaps, name: str) -> Any:
    return found.values[..., MEASURES.index(name)]


@pytest.mark.parametrize(
    "attention",
    [
        {"mechanism": "softmax"},
        FOURIER,
        {"basis": "rational", "rank": 4},
        {"mechanism": "static", "rank": 4},
        {"mechanism": "pointwise", "basis": "fourier"},
        {"mechanism": "differential"},
        {"mechanism": "static", "rank": 4, "heads": [0]},
    ],
    ids=str,
)
def test_every_kind_of_attention_is_shown(attention: dict[str, Any]) -> None:
    found = attention_maps(converted(attention), images(6), torch.arange(6) % 3)
    assert found.values.shape == (3, 3, 9)
    assert np.isfinite(found.values).all()
    assert found.before.shape == found.after.shape == (3, 3, 3, 16)
    assert found.rolled.shape == (3, 16)
    rows = list(found.rows())
    assert [(row["block"], row["head"]) for row in rows[:4]] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    chapter = AttentionMaps.chapter({"one": [found, found]})
    assert len(chapter.tables) == 2
    assert "1.00" in chapter.tables[1].rows[0]


def test_pictures_show_arms_with_and_without_scores() -> None:
    static = attention_maps(converted({"mechanism": "static", "rank": 4}), images(4))
    softmax = attention_maps(vit().eval(), images(4))
    for picture in AttentionMaps.figures({"softmax": [softmax], "static": [static]}):
        assert svg_of(picture.draw())


def test_numbers_are_means_over_images() -> None:
    model = converted(FOURIER)
    found = attention_maps(model, images(30))
    with torch.no_grad(), observed(model) as seen:
        model(images(30))
    weights = seen[1].weights[:, 2].double()
    sums = weights.sum(-1)
    assert value_of(found, "row_sum")[1, 2] == pytest.approx(sums.mean().item())
    assert value_of(found, "row_sum_sd")[1, 2] == pytest.approx(sums.std(correction=0).item())
    norms = torch.linalg.matrix_norm(weights) / 17**0.5
    assert value_of(found, "frobenius_norm")[1, 2] == pytest.approx(norms.mean().item())
    on_first = weights[..., 0].abs().sum(-1) / weights.abs().sum((-2, -1))
    assert value_of(found, "first_token_share")[1, 2] == pytest.approx(on_first.mean().item())
    np.testing.assert_allclose(found.mean_maps[1, 2], weights.mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.rows_per_image[:, 1, 2], weights[:, 0], rtol=1e-4, atol=1e-6)


def test_uniform_attention_has_the_values_that_follow_from_that() -> None:
    found = attention_maps(converted({"mechanism": "uniform"}), images(4))
    wanted = {
        "entropy": 1.0,
        "distance": found.uniform_distance,
        "negative_share": 0.0,
        "row_sum": 1.0,
        "row_sum_sd": 0.0,
        "frobenius_norm": 17**-0.5,
        "first_token_share": 1 / 17,
        "largest_column_share": 1 / 17,
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(value_of(found, name), value, atol=2e-6, err_msg=name)
    assert np.isnan(found.before).all()
    np.testing.assert_allclose(found.after, 1 / 17, rtol=1e-5)


def test_weights_shown_are_shares_of_their_row_and_keep_their_sign() -> None:
    found = attention_maps(converted(FOURIER), images(4))
    assert (found.after < 0).any()
    assert (np.abs(found.after).sum(-1) <= 1 + 1e-5).all()


def test_shown_are_the_first_images_of_different_classes() -> None:
    labels = torch.tensor([4, 4, 2, 2, 4, 1])
    found = attention_maps(vit().eval(), images(6), labels)
    assert len(found.shown) == 3
    own = images(6)[[0, 2, 5]]
    low, high = own.amin((1, 2, 3), True), own.amax((1, 2, 3), True)
    np.testing.assert_allclose(found.shown, (own - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize("host", ["convit", "deit"])
def test_hosts_with_a_class_token_are_shown(host: str) -> None:
    model = converted({"mechanism": "softmax"}, host)
    found = attention_maps(model, images(4))
    assert np.isfinite(value_of(found, "entropy")).all()
    if host == "convit":  # which has the class token in its last blocks alone
        assert np.isnan(value_of(found, "first_token_share")[0]).all()
        assert len(found.mean_maps) == 2


@pytest.mark.parametrize(
    "model",
    [
        lambda: vit(class_token=False, global_pool="avg"),
        lambda: vit(class_token=False, global_pool="avg", reg_tokens=2),
        HOSTS["swin"],
    ],
    ids=["no class token", "registers alone", "swin"],
)
def test_model_without_class_token_is_refused_in_one_line(model: Any) -> None:
    with pytest.raises(AnalysisError, match="has no class token, whose row of weights this shows"):
        attention_maps(model().eval(), images())


def test_looking_leaves_the_model_and_random_states_as_they_were() -> None:
    model = converted(FOURIER)
    leaves_all_unchanged(model, lambda: attention_maps(model, images(5)))
