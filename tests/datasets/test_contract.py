"""The contract of every data set in the catalogue."""

from pathlib import Path
from typing import Any

import pytest
import torch

from karat.datasets import DATASETS, Dataset, make_dataset
from tests.datasets.files import (
    write_cifar,
    write_flowers102,
    write_images,
    write_stl10,
    write_svhn,
)

PUBLISHED = {"svhn": write_svhn, "stl10": write_stl10, "flowers102": write_flowers102}


def settings_for(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if name == "digits":
        return {"name": name}
    if name == "fake":
        return {"name": name, "image_size": 8, "train_images": 60, "test_images": 20}
    if name in PUBLISHED:
        PUBLISHED[name](folder, monkeypatch, 4, 1)
        return {"name": name, "root": str(folder), "image_size": 8}
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


def test_contents_name_the_images_of_each_class_in_each_split(dataset: Dataset) -> None:
    info, found = dataset.info(), dataset.contents()
    assert found.fingerprint == dataset.check()
    assert set(found.images) == {"train", "val", "test"}
    assert all(tuple(classes) == info.classes for classes in found.images.values())
    assert abs(sum(found.images["train"].values()) - info.train_size) <= 1
    assert not found.warnings
    assert not dataset.awaits_download()
