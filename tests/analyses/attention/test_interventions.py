"""Changed attention: what a change does, and that it does no more."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import karat
from karat.analyses.attention.interventions import (
    BLIND,
    LINES,
    MEAN,
    SHUFFLED,
    TRAINED,
    MeanWeights,
    Scores,
    batches,
    correct_under_changes,
    one_cycle,
    rates,
)
from karat.models.observing import observed
from tests.models.test_mechanisms import HOSTS
from tests.models.test_models import images

HYBRID = {"mechanism": "static", "rank": 4, "heads": [0]}
KINDS: list[dict[str, Any]] = [
    {"mechanism": "softmax"},
    {"basis": "fourier", "rank": 4},
    {"basis": "rational", "rank": 4},
    {"mechanism": "differential"},
    HYBRID,
]


def converted(attention: dict[str, Any], host: str = "vit") -> nn.Module:
    return karat.convert(
        HOSTS[host](), attention, generator=torch.Generator().manual_seed(1)
    ).eval()


@torch.no_grad()
def meaned(model: nn.Module, pictures: Tensor) -> MeanWeights:
    mean = MeanWeights()
    for part in pictures.split(3):
        mean.begin(len(part))
        with observed(model, change_weights=mean.add, record=False):
            model(part)
    return mean


@pytest.mark.parametrize("attention", KINDS, ids=str)
@torch.no_grad()
def test_scores_of_an_image_in_place_of_its_own_change_nothing(attention: dict[str, Any]) -> None:
    model, scores = converted(attention), Scores()
    before = model(images(4))
    with observed(model, change_scores=scores.keep, record=False):
        model(images(4))
    scores.begin(torch.arange(4))
    with observed(model, change_scores=scores.put, record=False):
        torch.testing.assert_close(model(images(4)), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("host", ["vit", "swin", "convit"])
@torch.no_grad()
def test_image_gets_the_scores_that_another_has_in_the_trained_model(host: str) -> None:
    model, scores, order = converted({"basis": "fourier", "rank": 4}, host), Scores(), [2, 0, 1]
    with observed(model, change_scores=scores.keep) as own:
        model(images(3))
    scores.begin(torch.tensor(order))
    with observed(model, change_scores=scores.put) as seen:
        model(images(3))
    for mine, got in zip(own, seen, strict=True):
        windows = mine.layer.windows
        wanted = mine.scores.unflatten(0, (3, windows))[order].flatten(0, 1)
        torch.testing.assert_close(got.scores, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("host", ["vit", "swin"])
@torch.no_grad()
def test_mean_weights_stand_in_place_of_those_of_every_image(host: str) -> None:
    model = converted({"basis": "fourier", "rank": 4}, host)
    mean = meaned(model, images(7))
    with observed(model) as own:
        model(images(7))
    mean.begin()
    with observed(model, change_weights=mean.put) as seen:
        model(images(2))
    for mine, got in zip(own, seen, strict=True):
        wanted = mine.weights.unflatten(0, (7, mine.layer.windows)).double().mean(0)
        found = got.weights.unflatten(0, (2, mine.layer.windows))
        torch.testing.assert_close(found[1].double(), wanted, rtol=1e-4, atol=1e-5)


def test_a_cycle_has_no_fixed_point_and_every_image_once() -> None:
    for count in (2, 3, 20):
        order = one_cycle(count, torch.Generator().manual_seed(count))
        assert sorted(order.tolist()) == list(range(count))
        assert (order != torch.arange(count)).all()


def test_batches_hold_every_image_once_and_are_of_nearly_one_size() -> None:
    parts = batches(65, 64)
    assert sorted(torch.cat(list(parts)).tolist()) == list(range(65))
    assert sorted(map(len, parts)) == [32, 33]


def _rates_of(attention: dict[str, Any], lines: bool = False) -> dict[str, Any]:
    model, pictures = converted(attention), images(9)
    with torch.no_grad():
        labels = model(pictures).argmax(-1)
    return correct_under_changes(
        model,
        pictures,
        labels,
        meaned(model, pictures),
        has_scores=attention["mechanism"] != "static",
        lines=nullcontext if lines else None,
    )


def test_a_static_mixer_is_as_good_with_mean_weights_and_has_no_scores_to_change() -> None:
    correct = _rates_of({"mechanism": "static", "rank": 4})
    assert list(correct) == [TRAINED, MEAN]
    assert all((each == 1).all() for each in correct.values())
    found = rates(correct)
    assert found.difference.tolist() == [0, 0]
    assert found.low[0] < 1 <= found.high[0] + 1e-9


def test_changes_are_named_in_order_and_lines_only_where_asked_for() -> None:
    correct = _rates_of({"mechanism": "linear", "rank": 4}, lines=True)
    assert list(correct) == [TRAINED, SHUFFLED, BLIND, MEAN, LINES]
    assert (correct[LINES] == 1).all()  # nothing was replaced
    found = rates(correct)
    assert (found.difference_low <= found.difference).all()
    assert (found.difference <= found.difference_high).all()


def test_rates_are_shares_of_images_with_intervals_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    base = np.array([1.0] * 15 + [0.0] * 5)
    found = rates({TRAINED: base, MEAN: base[::-1].copy()})
    assert found.accuracy.tolist() == [0.75, 0.75]
    expected = proportion_confint(15, 20, method="wilson")
    assert (found.low[0], found.high[0]) == pytest.approx(expected, rel=1e-12)
    assert found.difference[1] == 0
    assert found.difference_low[1] < -0.1 < 0.1 < found.difference_high[1]
    assert rates({TRAINED: base, MEAN: base[::-1].copy()}).low.tolist() == found.low.tolist()
