"""The contract of every data set in the catalogue."""

from pathlib import Path
from typing import Any

import pytest
import torch

from karat.datasets import DATASETS, Dataset, make_dataset
from tests.datasets.files import write_cifar, write_images


def settings_for(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if name == "digits":
        return {"name": name}
    if name in ("cifar10", "cifar100"):
        write_cifar(name, folder, monkeypatch, 5, 2)
        return {"name": name, "root": str(folder)}
    test = "val" if name == "imagenet1k" else "test"
    write_images(folder, {"train": 20, test: 20}, ("a", "b", "c"), ".png")
    return {"name": name, "root": str(folder), "image_size": 8}


@pytest.fixture(params=sorted(DATASETS))
def dataset(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Dataset:
    return make_dataset(settings_for(request.param, tmp_path, monkeypatch))


def test_splits_match_info(dataset: Dataset) -> None:
    info, splits = dataset.info(), dataset.splits()
    assert abs(len(splits.train) - info.train_size) <= 1  # type: ignore[arg-type]
    for part in (splits.train, splits.val, splits.test):
        labels = set()
        for image, label in part:  # type: ignore[attr-defined]
            assert image.shape == (info.channels, info.image_size, info.image_size)
            assert image.dtype == torch.float32
            assert torch.isfinite(image).all()
            labels.add(int(label))
        assert labels == set(range(len(info.classes)))  # stratified: every class everywhere


def test_splits_are_disjoint_and_fixed_by_their_seed(dataset: Dataset) -> None:
    def images(part: Any) -> list[bytes]:
        return [image.numpy().tobytes() + bytes([int(label)]) for image, label in part]

    first, again = dataset.splits(), dataset.splits()
    assert images(first.val) == images(again.val)
    assert not set(images(first.train)) & set(images(first.val))


def test_check_returns_the_same_fingerprint_twice(dataset: Dataset) -> None:
    assert dataset.check() == dataset.check()
