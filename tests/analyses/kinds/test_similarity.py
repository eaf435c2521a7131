"""Similarity of whole models, and what is said of it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import karat
from karat.analyses import similarity
from karat.analyses.attention.similarity_found import CLASS_TOKEN, PATCHES, between
from karat.analyses.kinds.similarity import Similarity
from karat.analyses.pictures import svg_of
from karat.errors import AnalysisError
from tests.analyses.unchanged import leaves_all_unchanged
from tests.models.test_mechanisms import HOSTS
from tests.models.test_models import images, vit


@pytest.mark.parametrize("host", ["vit", "vit without class token", "convit", "swin", "deit"])
def test_features_of_every_host_are_found_after_each_block(host: str) -> None:
    pooled = "without" in host
    model = vit(class_token=False, global_pool="avg") if pooled else HOSTS[host]()
    found = similarity(model.eval(), images(6))
    assert found.kinds == ((PATCHES,) if pooled or host == "swin" else (CLASS_TOKEN, PATCHES))
    assert found.features.shape[:1] == (len(found.kinds),)
    assert found.features.shape[2] == 6
    table = between(found.grams(PATCHES), found.grams(PATCHES))
    np.testing.assert_allclose(np.diagonal(table), 1)
    np.testing.assert_allclose(table, table.T)
    assert len({tuple(row) for row in found.rows()}) == 1


@torch.no_grad()
def test_the_last_features_are_those_that_the_model_ends_with() -> None:
    model: Any = vit().eval()
    found = similarity(model, images(70))  # more than a batch
    wanted = model.forward_features(images(70))
    normed = model.norm(torch.from_numpy(found.features[0, -1]))
    torch.testing.assert_close(normed, wanted[:, 0], rtol=1e-4, atol=1e-5)


def test_equal_models_are_the_same_and_others_less_so() -> None:
    torch.manual_seed(0)
    first, other = vit().eval(), vit().eval()
    a, again, b = (similarity(model, images(40)) for model in (first, first, other))
    for kind in a.kinds:
        np.testing.assert_allclose(np.diagonal(between(a.grams(kind), again.grams(kind))), 1)
    chapter = Similarity.chapter({"a": [a, again], "b": [b]})
    (table,) = chapter.tables
    assert table.rows[0] == ("runs of a", "1", "1.00 (1.00 to 1.00)", "1.00 (1.00 to 1.00)")
    assert table.rows[1][:2] == ("a and b", "2")


def test_arms_whose_models_saw_other_images_are_not_compared() -> None:
    a, b = (similarity(vit().eval(), images(count)) for count in (6, 8))
    (table,) = Similarity.chapter({"a": [a], "b": [b]}).tables
    assert table.rows == (("a and b", "1", "-", "-"),)


def test_models_of_different_depth_are_compared_in_pictures_alone() -> None:
    a, b = (similarity(vit(depth=depth).eval(), images(6)) for depth in (2, 3))
    (table,) = Similarity.chapter({"a": [a], "b": [b]}).tables
    assert table.rows[0][0] == "a and b"
    for picture in Similarity.figures({"a": [a, a], "b": [b]}):
        assert svg_of(picture.draw())


def test_too_few_images_are_refused_in_one_line() -> None:
    with pytest.raises(AnalysisError, match="needs at least 4 images, got 3"):
        similarity(vit().eval(), images(3))
    with pytest.raises(AnalysisError, match="Linear is not a supported host"):
        similarity(nn.Linear(2, 2), images(5))


def test_looking_leaves_the_model_and_random_states_as_they_were() -> None:
    model = karat.convert(vit(), {"basis": "fourier", "rank": 4})
    leaves_all_unchanged(model, lambda: similarity(model, images(5)))
