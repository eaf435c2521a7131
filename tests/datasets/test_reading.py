"""What a decode may not lose, and what a walk and a check must tell."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from karat.datasets import Contents, lines_of, make_dataset
from karat.datasets._reading.decode import decode, read_image
from karat.errors import DataError
from tests.datasets.files import write_images, write_stl10

DRAW = np.random.default_rng(0)


def noise(*shape: int, most: int = 256, kind: Any = np.uint8) -> Image.Image:
    return Image.fromarray(DRAW.integers(0, most, shape, dtype=kind))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path / "set", {"train": 6, "test": 3}, ("one", "two"), ".png")
    return tmp_path / "set"


def contents(root: Path, **settings: Any) -> Contents:
    return make_dataset({"name": "image_folder", "root": str(root), **settings}).contents()


def test_a_grey_image_with_16_bits_keeps_its_range(tmp_path: Path) -> None:
    pixels = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
        found = decode(tmp_path / name)
        assert np.asarray(found.image)[..., 0].tolist() == [[0, 100], [200, 255]]
        assert found.changes == ("16 bits",)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_without_a_known_range_are_refused(tmp_path: Path, kind: Any) -> None:
    Image.fromarray(DRAW.random((4, 4)).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: its pixels are numbers whose range is not known"):
        decode(tmp_path / "a.tif")


def test_16_bits_of_which_few_are_used_are_refused(root: Path) -> None:
    noise(9, 9, most=4096, kind=np.uint16).save(root / "train" / "one" / "a.png")
    with pytest.raises(DataError, match=r"none is above [34],\d\d\d of 65,535"):
        contents(root)


def test_transparent_pixels_are_put_over_white_and_opaque_ones_kept(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("RGBA", (2, 2), (10, 20, 30, 255)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").changes == ()
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (10, 20, 30)


def test_a_camera_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=image.getexif())
    found = decode(tmp_path / "a.jpg")
    assert (found.size, found.changes) == ((20, 40), ("turned",))


def test_an_image_that_needs_nothing_is_read_as_before(root: Path) -> None:
    path = next((root / "train" / "one").iterdir())
    with Image.open(path) as image:
        assert read_image(path).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("ending", [".gif", ".jfif", ".webp", ".ppm"])
def test_other_endings_of_images_are_read(root: Path, ending: str) -> None:
    before = sum(contents(root).images["test"].values())
    noise(9, 9, 3).save(root / "test" / "one" / f"a{ending}")
    assert sum(contents(root).images["test"].values()) == before + 1


def test_what_is_not_read_is_told(root: Path) -> None:
    for folder in ("train/.ipynb_checkpoints", "train/one/.ipynb_checkpoints", "val/one"):
        (root / folder).mkdir(parents=True)
        noise(9, 9, 3).save(root / folder / "a.png")
    for number in range(36):
        (root / "train" / "one" / f"{number}.xyz").touch()
    found = contents(root)
    assert found.left_out == (
        "val/ is not read: the parts are train and test",
        "train: .ipynb_checkpoints is hidden, so it is no class",
        "train/one: 36 files are not read (.xyz)",
        "train/one: 1 hidden not read (.ipynb_checkpoints/)",
    )
    assert found.images["train"] == {"one": 5, "two": 5}
    assert ("left out", "train/one: 36 files are not read (.xyz)") in lines_of(found.plain())


def same_class(root: Path) -> None:
    for path in (root / "train" / "two").iterdir():
        Image.new("RGB", (9, 9)).save(path)


def in_both_parts(root: Path) -> None:
    os.link(root / "train" / "one" / "one_0.png", root / "test" / "one" / "x.png")


def in_two_classes(root: Path) -> None:
    os.link(root / "train" / "one" / "one_0.png", root / "train" / "two" / "x.png")


def misnamed(root: Path) -> None:
    noise(9, 9, 3).save(root / "train" / "one" / "x.jpg", format="PNG")


def tiny(root: Path) -> None:
    noise(1, 1, 3).save(root / "train" / "one" / "x.png")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (same_class, "train/two: all 6 images are the same"),
        (in_both_parts, "1 of 7 test images are also among the training images"),
        (in_two_classes, "1 time one image is in two classes"),
        (misnamed, r"1 file named otherwise than what is in them \(.jpg is PNG\)"),
        (tiny, "1 image is scaled up more than 4 times"),
    ],
)
def test_what_makes_a_set_of_little_worth_is_told(
    root: Path, spoil: Callable[[Path], None], told: str
) -> None:
    assert contents(root).warnings == ()
    spoil(root)
    [warning] = contents(root).warnings
    assert re.match(told, warning)


def test_one_image_of_a_class_names_the_folder_and_says_what_to_do(root: Path) -> None:
    for path in sorted((root / "train" / "two").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match=r"train/two: has 1 image to train with.*; add images, or"):
        contents(root)


def test_an_image_that_would_fill_the_memory_is_refused(root: Path) -> None:
    Image.new("RGB", (20_000, 1)).save(root / "test" / "one" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has 20,000 x 1 pixels"):
        contents(root, image_size=224)


def test_labels_out_of_range_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stl10(tmp_path, monkeypatch, 4, 1, first=0)
    with pytest.raises(DataError, match="a label of STL-10 is 255; those of its 10 classes are 0 "):
        make_dataset({"name": "stl10", "root": str(tmp_path)}).check()
