"""The path of a model's weights over its training, on its loss."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import karat
from karat.analyses import optimizer_path
from karat.analyses.geometry.path_drawing import _named
from karat.analyses.geometry.trained import Trained
from karat.analyses.kinds.optimizer_path import OptimizerPath
from karat.analyses.subject import Snapshot
from karat.errors import AnalysisError, CheckpointError
from tests.analyses.geometry.small import labels, left_alone, small_images, small_vit

PLACES = np.array([[4.0, 1.0], [3.0, -1.0], [1.0, -2.0], [0.0, 0.0]])


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karat.analyses.kinds.optimizer_path.SIDE", 3)


def reader(state: Mapping[str, Tensor]) -> Callable[[], Mapping[str, Tensor]]:
    return lambda: state


def walk(model: nn.Module, places: np.ndarray) -> list[Snapshot]:
    """Weights at these places in a plane through the model's own."""
    trained = Trained(model)
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(len(trained), 2, generator=generator))
    found = []
    for epoch, place in enumerate(places):
        moved = trained.vector + basis @ torch.tensor(place, dtype=torch.float32)
        state = {**model.state_dict(), **trained.split(moved)}
        found.append(Snapshot(epoch=5 * epoch, read=reader(state)))
    return found


def model_of(**more: object) -> nn.Module:
    return karat.convert(small_vit(**more), {"basis": "fourier", "rank": 2}).eval()


def test_a_known_walk_is_found_and_the_model_left_alone() -> None:
    model = model_of()
    path = walk(model, PLACES)
    with left_alone(model):
        found = optimizer_path(model, small_images(), labels(), path)
    assert found.explained[:2].sum() == pytest.approx(1, abs=1e-6)
    assert found.epochs.tolist() == [0, 5, 10, 15]
    np.testing.assert_allclose(found.outside, 0, atol=1e-2)
    apart = np.linalg.norm(found.places[:, None] - found.places[None], axis=-1)
    known = np.linalg.norm(PLACES[:, None] - PLACES[None], axis=-1)
    np.testing.assert_allclose(apart, known, atol=1e-4)
    np.testing.assert_allclose(found.places[-1], 0, atol=1e-6)
    np.testing.assert_allclose(
        found.lengths, np.linalg.norm(np.diff(PLACES, axis=0), axis=1), rtol=1e-4
    )
    assert found.distance == pytest.approx(np.hypot(4, 1), rel=1e-4)
    loss = F.cross_entropy(model(small_images()), labels()).item()
    assert found.losses[-1] == pytest.approx(loss, rel=1e-5)


def test_the_grid_is_the_plane_in_which_the_path_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    centre = np.array([-1.0, 0.0, 1.0])
    monkeypatch.setattr(
        "karat.analyses.kinds.optimizer_path._sides", lambda places: (centre, places[0, 1] * centre)
    )
    found = optimizer_path(model, small_images(), labels(), walk(model, PLACES))
    assert found.plane[1, 1] == pytest.approx(found.losses[-1], rel=1e-5)


def test_too_few_weights_say_how_to_get_more() -> None:
    model = model_of()
    for count, what in ((0, "only the last are known"), (2, "weights of 2 moments are known")):
        with pytest.raises(AnalysisError, match=f"{what}.*training.keep_checkpoints"):
            optimizer_path(model, small_images(), labels(), walk(model, PLACES)[:count])


def test_weights_of_another_model_or_that_cannot_be_read_are_refused() -> None:
    def broken() -> Mapping[str, Tensor]:
        raise CheckpointError("the file is cut off")

    model = model_of()
    path = walk(model, PLACES)
    other = Snapshot(epoch=7, read=reader(small_vit().state_dict()))
    with pytest.raises(AnalysisError, match=r"weights of another model: .*, got none"):
        optimizer_path(model, small_images(), labels(), [path[0], other, path[-1]])
    bad = Snapshot(epoch=7, read=broken)
    with pytest.raises(AnalysisError, match="weights of epoch 7: the file is cut off"):
        optimizer_path(model, small_images(), labels(), [path[0], bad, path[-1]])


def test_the_words_compare_with_a_random_walk() -> None:
    model = model_of()
    found = optimizer_path(model, small_images(), labels(), walk(model, PLACES))
    chapter = OptimizerPath.chapter({"karat": [found], "other": [found]})
    assert "A high share alone therefore says nothing" in chapter.paragraphs[0]
    assert "of one run each" in chapter.paragraphs[0]
    walks = (f"{100 * found.walk[0]:.1f} %", f"{100 * found.walk[1]:.1f} %")
    for row in chapter.tables[0].rows:
        assert walks[0] in row[2]
        assert walks[1] in row[3]
    (picture,) = OptimizerPath.figures({"karat": [found], "other": [found]})
    assert picture.draw().axes
    assert len({tuple(row) for row in found.rows()}) == 1
    assert found.plot().axes


def test_a_moment_far_from_the_others_is_named_though_it_is_not_an_even_one() -> None:
    places = np.array([(9.0, 0.0), (2.0, 3.0), (0.3, 0.7), (0.1, 0.2), (0.05, 0.1), (0.0, 0.0)])
    found: Any = SimpleNamespace(epochs=(0, 6, 12, 18, 24, 30), places=places)
    assert _named(found) == [5, 0, 1]
