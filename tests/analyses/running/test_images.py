"""Which images are looked at, where some cannot be read or the data is another one than the study had."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from karat.analyses.running import images
from karat.analyses.running.images import look_at_images, some_images
from karat.datasets import Splits
from karat.errors import AnalysisError, DataError


class Files(torch.utils.data.Dataset[Any]):
    """Ten images of 1 x 1 pixel with their place as value; those at `bad` are unreadable."""

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 10

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        if place in self.bad:
            raise DataError(f"{place}.png: not a readable image (cut); replace or remove it")
        return torch.full((1, 1, 1), float(place)), place % 2


def _looked(
    monkeypatch: pytest.MonkeyPatch, bad: tuple[int, ...] = (), **counts: int
) -> images.Looked:
    split = Files(bad)
    monkeypatch.setattr(images, "load_splits", lambda _: Splits(train=split, val=split, test=split))
    trial: Any = SimpleNamespace(config={"data": {"name": "digits"}})
    state: Any = SimpleNamespace(images=counts, trials={0: trial}, data_place={})
    monkeypatch.setattr(
        images.TrialConfig, "from_sections", lambda _: SimpleNamespace(data="a data set")
    )
    return look_at_images(state, trial, 4)


def test_only_the_images_that_are_used_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert images.places(Files(), 4) == [0, 3, 6, 9]
    assert not _looked(monkeypatch, bad=(1, 2)).unreadable


def test_an_unreadable_image_is_named_and_nothing_advises_to_remove_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = _looked(monkeypatch, bad=(3,))
    assert found.unreadable == {3: "3.png: not a readable image (cut)"}
    assert not found.problem
    tensor, labels = some_images(Files((3,)), 4, (3,))
    assert tensor.flatten().tolist() == [0, 6, 9]
    assert labels.tolist() == [0, 0, 1]


def test_without_any_readable_image_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "0.png" in _looked(monkeypatch, bad=(0, 3, 6, 9)).problem
    with pytest.raises(AnalysisError, match="none of the images"):
        some_images(Files(), 4, (0, 3, 6, 9))


@pytest.mark.parametrize(("part", "words"), [("val", "validation"), ("train", "training")])
def test_other_numbers_of_images_than_in_the_journal_are_refused(
    monkeypatch: pytest.MonkeyPatch, part: str, words: str
) -> None:
    counts: Any = {"val": 10, "train": 10}
    assert not _looked(monkeypatch, **counts).problem
    found = _looked(monkeypatch, **{**counts, part: 11})
    assert f"11 {words} images then, 10 now" in found.problem
