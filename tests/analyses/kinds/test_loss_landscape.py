"""The landscape of a model's loss: centre, shares, curvature, and that the model is left alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import karat
from karat.analyses import loss_landscape
from karat.analyses.geometry.loss import Loss
from karat.analyses.kinds.loss_landscape import LossLandscape
from karat.analyses.subject import Subject
from karat.errors import AnalysisError
from tests.analyses.geometry.small import labels, left_alone, small_images, small_vit
from tests.models.test_models import convit, images, swin

FOURIER = {"basis": "fourier", "rank": 2}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karat.analyses.kinds.loss_landscape.SIDE", 3)
    monkeypatch.setattr("karat.analyses.kinds.loss_landscape.STEPS", np.array([-1.0, 0.0, 1.0]))
    monkeypatch.setattr("karat.analyses.kinds.loss_landscape.PROBES", 4)


def found_of(attention: dict[str, Any] | None = None, **more: Any) -> LossLandscape:
    model = small_vit(**more)
    if attention is not None:
        karat.convert(model, attention)
    return loss_landscape(model.eval(), small_images(), labels())


@pytest.mark.parametrize(
    "attention",
    [
        None,
        FOURIER,
        {"basis": "rational", "rank": 2},
        {"mechanism": "static", "rank": 2},
        {"mechanism": "pointwise", "basis": "fourier"},
        {"mechanism": "differential"},
        {**FOURIER, "heads": [0]},
    ],
)
def test_the_centre_is_the_loss_of_the_model_which_is_left_alone(
    attention: dict[str, Any] | None,
) -> None:
    model = small_vit()
    if attention is not None:
        karat.convert(model, attention)
    model.eval()
    expected = F.cross_entropy(model(small_images()), labels()).item()
    with left_alone(model):
        found = loss_landscape(model, small_images(), labels())
    assert found.loss == pytest.approx(expected, rel=1e-5)
    assert found.plane[1, 1] == found.loss
    np.testing.assert_allclose(found.lines[:, 1], found.loss, rtol=1e-6)
    np.testing.assert_array_equal(found.lines[0], found.plane[1])
    np.testing.assert_array_equal(found.lines[1], found.plane[:, 1])
    assert (np.diff(found.largest) <= 0).all()
    assert found.largest[0] >= found.least[0]
    assert found.parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_the_same_model_gives_the_same_numbers() -> None:
    assert found_of(FOURIER).numbers() == found_of(FOURIER).numbers()


@pytest.mark.parametrize("host", [convit, swin])
def test_other_hosts_have_a_landscape(host: Any) -> None:
    model = karat.convert(host(), FOURIER).eval()
    loss = Loss(Subject(model=model, images=images(), labels=torch.tensor([0, 1])))
    centre = loss.trained.vector
    with left_alone(model), loss.curvature(centre) as hessian:
        assert hessian.times(centre).isfinite().all()


def test_a_model_without_a_class_token_has_a_landscape() -> None:
    assert np.isfinite(found_of(FOURIER, class_token=False, global_pool="avg").plane).all()


def test_few_images_are_used_where_they_are_large_and_these_are_spread_evenly() -> None:
    model = small_vit()
    count = Loss(Subject(model=model, images=small_images(300), labels=labels(300))).count
    assert count == 256
    large = small_vit(img_size=512, patch_size=256)
    many = torch.zeros(9, 1, 512, 512)
    loss = Loss(Subject(model=large, images=many, labels=torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2])))
    assert loss.count == 2
    assert [int(each) for _, each in loss._batches(1)] == [0, 1]


def test_wrong_classes_and_models_are_refused() -> None:
    model = small_vit()
    with pytest.raises(AnalysisError, match="classes from 0 to 2"):
        loss_landscape(model, small_images(), labels() + 1)
    with pytest.raises(AnalysisError, match="one for each image"):
        loss_landscape(model, small_images(), labels(4))
    with pytest.raises(AnalysisError, match="not a supported host"):
        loss_landscape(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), small_images(), labels())  # fmt: skip
    with pytest.raises(AnalysisError, match="no parameter of the model is trained"):
        loss_landscape(small_vit().requires_grad_(False), small_images(), labels())
    with torch.no_grad():
        model.get_parameter("head.bias").fill_(torch.nan)
    with pytest.raises(AnalysisError, match="the loss at the trained weights is nan"):
        loss_landscape(model, small_images(), labels())


def test_pictures_and_words_are_about_all_arms_and_say_how_many_runs() -> None:
    one, other = found_of(), found_of(FOURIER)
    arms = {"softmax": [one], "karat": [other]}
    assert len(LossLandscape.figures(arms)) == 3
    for picture in LossLandscape.figures(arms):
        assert picture.draw().axes
        assert "6 validation images" in picture.caption
    chapter = LossLandscape.chapter(arms)
    assert "of one run each" in chapter.paragraphs[0]
    assert [row[0] for row in chapter.tables[0].rows] == ["softmax", "karat"]
    more = LossLandscape.chapter({"softmax": [one, one], "karat": [other]})
    assert "2 of softmax, 1 of karat" in more.paragraphs[0]
    five = {str(number): [one] for number in range(5)}
    assert "Not shown: 4." in LossLandscape.figures(five)[0].caption
    assert one.plot().axes
    keys = {tuple(row) for row in one.rows()}
    assert len(keys) == 1
