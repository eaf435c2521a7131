import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from karat.datasets import Dataset, make_dataset
from karat.errors import DataError, SettingError
from tests.datasets.files import write_images

WNIDS = ("n01440764", "n01443537", "n01484850")
TRAIN, VAL = 8, 3  # images per class


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path, {"train": TRAIN, "val": VAL}, WNIDS, ".JPEG")
    return tmp_path


def imagenet(root: Path, **settings: Any) -> Dataset:
    return make_dataset({"name": "imagenet1k", "root": str(root), "image_size": 9, **settings})


def labels_of(part: Any) -> list[int]:
    return [label for _, label in part]


def test_classes_are_the_folders_and_val_is_the_test_split(root: Path) -> None:
    data = imagenet(root, val_share=0.25)
    info, splits = data.info(), data.splits()
    assert info.classes == WNIDS
    assert (info.channels, info.train_size) == (3, 18)
    assert Counter(labels_of(splits.train)) == dict.fromkeys(range(3), 6)
    assert Counter(labels_of(splits.val)) == dict.fromkeys(range(3), 2)
    assert labels_of(splits.test) == [0] * VAL + [1] * VAL + [2] * VAL


def test_default_size_is_224(root: Path) -> None:
    data = make_dataset({"name": "imagenet1k", "root": str(root)})
    assert data.info().image_size == 224
    assert data.splits().test[0][0].shape == (3, 224, 224)


def test_images_are_normalised_per_channel(root: Path) -> None:
    file = root / "val" / WNIDS[1] / f"{WNIDS[1]}_0.JPEG"
    Image.new("RGB", (30, 20), (200, 100, 50)).save(file, quality=100)
    with Image.open(file) as image:
        pixel: Any = image.getpixel((15, 10))
    shown = imagenet(root).splits().test[VAL][0]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = [(p / 255 - m) / s for p, m, s in zip(pixel, mean, std, strict=True)]
    assert shown.shape == (3, 9, 9)
    assert shown[:, 4, 4].tolist() == pytest.approx(expected, abs=1e-5)


def test_central_crop_keeps_nine_tenths_of_the_shorter_edge(root: Path) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 255, 255), (11, 1, 29, 19))  # the central 18 x 18
    image.save(root / "val" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG", quality=100)
    shown = imagenet(root, image_size=18).splits().test[0][0]
    assert (shown > 1).all()
    assert shown.shape == (3, 18, 18)


def test_splits_are_disjoint_and_fixed_by_the_split_seed(root: Path) -> None:
    def images(part: Any) -> list[bytes]:
        return [image.numpy().tobytes() for image, _ in part]

    first = imagenet(root).splits()
    again, other = imagenet(root).splits(), imagenet(root, split_seed=1).splits()
    assert images(first.val) == images(again.val) != images(other.val)
    assert images(first.test) == images(other.test)
    parts = [images(part) for part in (first.train, first.val, first.test)]
    assert len(set().union(*parts)) == sum(map(len, parts)) == 3 * (TRAIN + VAL)


def test_limit_applies_to_each_class(root: Path) -> None:
    data = imagenet(root, limit_per_class=2, val_share=0.5)
    splits = data.splits()
    assert data.info().train_size == len(splits.train) == 3  # type: ignore[arg-type]
    assert len(splits.test) == 6  # type: ignore[arg-type]


def test_splits_can_be_sent_to_data_loading_processes(root: Path) -> None:
    train = pickle.loads(pickle.dumps(imagenet(root).splits().train))
    images, labels = next(iter(DataLoader(train, batch_size=4, num_workers=1)))
    assert images.shape == (4, 3, 9, 9)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("part", ["train", "val"])
def test_missing_folder_is_refused_with_instructions(root: Path, part: str) -> None:
    other = "train" if part == "val" else "val"
    (root / part).rename(root / "elsewhere")
    with pytest.raises(DataError) as caught:
        imagenet(root).info()
    assert str(caught.value) == (
        f"{root}/{part}: there is no such folder (there are: elsewhere, {other}); expected train/<wnid>/*.JPEG and "
        "val/<wnid>/*.JPEG, the unpacked ILSVRC 2012 images from "
        "https://www.image-net.org/download.php"
    )


def test_flat_val_folder_is_refused_with_instructions(root: Path) -> None:
    for file in list((root / "val").rglob("*.JPEG")):
        file.rename(root / "val" / file.name)
    for name in WNIDS:
        (root / "val" / name).rmdir()
    with pytest.raises(DataError) as caught:
        imagenet(root).info()
    assert str(caught.value) == (
        f"{root}/val: has images but no class folders; move each image into the folder of its "
        "class (val/<wnid>/*.JPEG), as valprep.sh does for PyTorch's examples"
    )


def test_only_some_of_many_different_classes_are_named(root: Path) -> None:
    write_images(root, {"val": 1}, tuple(f"n0{i}" for i in range(9)), ".JPEG")
    message = "train and val must have the same classes; only in one of them: n0.*, n0.* and "
    with pytest.raises(DataError, match=message):
        imagenet(root).info()


def test_empty_file_is_named(root: Path) -> None:
    file = root / "train" / WNIDS[2] / f"{WNIDS[2]}_5.JPEG"
    file.write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"{file}: is an empty file; replace or remove")):
        imagenet(root).check()


@pytest.mark.parametrize("part", ["train", "val"])
def test_truncated_image_is_found_as_the_smallest_of_its_class(root: Path, part: str) -> None:
    file = root / part / WNIDS[1] / f"{WNIDS[1]}_2.JPEG"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=re.escape(f"{file}: not a readable image")):
        imagenet(root).check()


def test_fingerprint_changes_with_names_and_sizes(root: Path) -> None:
    before = imagenet(root).check()
    assert imagenet(root, limit_per_class=3).check() == before
    file = root / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    file.write_bytes(file.read_bytes() + b"\0")
    longer = imagenet(root).check()
    file.rename(file.with_stem("other"))
    assert len({before, longer, imagenet(root).check()}) == 3


def test_download_is_not_a_setting(root: Path) -> None:
    with pytest.raises(SettingError, match=r"data\.download: unknown key"):
        imagenet(root, download=True)
