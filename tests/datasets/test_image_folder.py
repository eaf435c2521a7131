from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from karat.datasets import _image_files, make_dataset
from karat.datasets._reading.listing import Listing, listing_of
from karat.errors import DataError, InputError
from karat.space.reader import load_space


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (10, 12), (100 * label, 10 * index, 50))
                image.save(tmp_path / "images" / part / name / f"{index}.png")
    return tmp_path / "images"


def test_images_are_scaled_and_split_by_class(folder: Path) -> None:
    data = make_dataset({"name": "image_folder", "root": str(folder), "image_size": 8})
    assert data.info().classes == ("cat", "dog")
    splits = data.splits()
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [20, 4, 8]  # type: ignore[arg-type]
    image, _ = splits.train[0]
    assert image.shape == (3, 8, 8)
    assert image.dtype == torch.float32


def test_fingerprint_changes_with_an_image(folder: Path) -> None:
    data = make_dataset({"name": "image_folder", "root": str(folder), "image_size": 8})
    before = data.check()
    assert data.check() == before
    Image.new("RGB", (10, 12), (1, 2, 3)).save(folder / "train" / "cat" / "0.png")
    assert data.check() != before


def test_limit_applies_to_each_class(folder: Path) -> None:
    data = make_dataset(
        {"name": "image_folder", "root": str(folder), "limit_per_class": 8, "val_share": 0.25}
    )
    assert len(data.splits().train) == 12  # type: ignore[arg-type]


def test_corrupt_image_is_named(folder: Path) -> None:
    bad = folder / "test" / "dog" / "2.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(DataError, match=r"test/dog/2\.png: not a readable image"):
        make_dataset({"name": "image_folder", "root": str(folder)}).check()


def test_empty_class_folder_is_named(folder: Path) -> None:
    (folder / "train" / "emu").mkdir()
    with pytest.raises(DataError, match="train/emu: this class folder has no image"):
        make_dataset({"name": "image_folder", "root": str(folder)}).check()


def test_classes_that_differ_between_train_and_test_are_named(folder: Path) -> None:
    (folder / "test" / "dog").rename(folder / "test" / "fox")
    with pytest.raises(DataError, match=r"only in one of them: dog \(train\), fox \(test\)"):
        make_dataset({"name": "image_folder", "root": str(folder)}).info()


def test_missing_folder_is_refused_with_the_line_of_the_space(
    write_space: Callable[..., Path],
) -> None:
    path = write_space(("{name: digits}", "{name: image_folder, root: /nowhere, image_size: 8}"))
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert str(caught.value).startswith(f"{path}:3: data: /nowhere: there is no such folder")


def test_files_are_listed_once_however_often_the_sizes_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []

    def count(part: Path) -> Listing:
        listed.append(part)
        return listing_of(part)

    monkeypatch.setattr(_image_files, "listing_of", count)
    settings = {"name": "image_folder", "root": str(folder), "image_size": 8}
    assert {make_dataset(settings).info().train_size for _ in range(5)} == {20}
    assert len(listed) == 2  # training and test
    for part in ("train", "test"):
        (folder / part / "dog").rename(folder / part / "wolf")
    assert make_dataset(settings).info().classes == ("cat", "wolf")
