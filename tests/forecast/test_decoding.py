"""What decoding image files adds to the forecast, and that a probe decodes as a study does."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from karat.datasets import Dataset, load_splits, make_dataset
from karat.datasets._reading import pace
from karat.datasets._reading.decode import read_image
from karat.datasets.image_folder import ImageFolder
from karat.forecast.probing.stand_in import FEW, stand_in
from karat.forecast.speed import decoding
from karat.forecast.speed.times import Times
from karat.space.settings import ResourceConfig
from karat.training.config import TrialConfig
from tests.datasets.files import write_images

IMAGE_S = 0.5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path, {"train": 10, "test": 4}, ("a", "b"), ".png")
    return tmp_path


def config_of(folder: Path, workers: int = 0, **data: Any) -> TrialConfig:
    return TrialConfig.from_sections(
        {
            "data": {"name": "image_folder", "root": str(folder), "image_size": 8, **data},
            "model": {"name": "vit_micro", "patch_size": 4},
            "attention": {"basis": "softmax"},
            "training": {"recipe": "quick", "workers": workers},
        }
    )


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image takes half a second to decode."""
    monkeypatch.setattr(decoding, "image_s", lambda _: IMAGE_S)


def test_the_time_of_an_image_is_measured_on_a_few_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def noted(path: Path) -> Image.Image:
        read.append(path)
        return read_image(path)

    monkeypatch.setattr(pace, "read_image", noted)
    assert 0 < config_of(folder).data.decode_s() < 1
    assert {path.parent.name for path in read} == {"a", "b"}
    assert len(read) == pace.MOST + 1  # one does not count
    assert len(set(read)) == pace.MOST
    assert make_dataset({"name": "digits"}).decode_s() == 0


@pytest.mark.usefixtures("slow")
def test_images_decoded_in_every_epoch_are_in_its_seconds(folder: Path) -> None:
    times = Times(ResourceConfig(cpus=2), None)
    kept, files = config_of(folder), config_of(folder, loader="files")
    images = 20  # training and validation
    assert times.unprobed_s(kept) < 1
    assert times.unprobed_s(files) == pytest.approx(IMAGE_S * images, abs=1)
    several = config_of(folder, workers=8, loader="files")
    assert times.unprobed_s(several) == pytest.approx(IMAGE_S * images / 2, abs=1)
    assert times.decoded_once_s(files) == 0


@pytest.mark.usefixtures("slow")
def test_images_decoded_once_are_before_the_first_epoch(folder: Path) -> None:
    found = Times(ResourceConfig(cpus=2), None).decoded_once_s(config_of(folder))
    assert found == pytest.approx(IMAGE_S * 28 / 2, abs=0.5)  # test images too, on two cores


def test_a_probe_decodes_a_few_images_of_a_set_that_is_decoded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(folder / "many", {"train": 2 * FEW, "test": 4}, ("a", "b"), ".png")
    data = config_of(folder / "many").data
    whole, few = load_splits(data), load_splits(stand_in(data))
    for name in ("train", "val", "test"):
        assert len(getattr(few, name)) == len(getattr(whole, name))
    assert (few.train[0][0] == whole.train[0][0]).all()
    monkeypatch.setattr("torchvision.datasets.folder.DatasetFolder.__getitem__", None)
    last = len(few.train) - 1  # type: ignore[arg-type]
    images, labels = few.train.raw([0, last])  # type: ignore[attr-defined]
    assert images.shape == (2, 3, 8, 8)
    assert labels.shape == (2,)


def test_a_probe_decodes_all_that_it_needs_of_a_set_that_is_decoded_in_every_epoch(
    folder: Path,
) -> None:
    data: Dataset = config_of(folder, loader="files").data
    assert isinstance(stand_in(data), ImageFolder)
