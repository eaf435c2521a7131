"""Flowers-102: 8,189 photographs of 102 kinds of flowers."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch.utils.data import Dataset as TorchDataset
from torchvision.datasets import Flowers102 as Source

from karat.datasets import Preprocessing
from karat.datasets._image_files import image_transform
from karat.datasets._published import Published
from karat.datasets._reading.decode import read_image
from karat.datasets._reading.pace import seconds_of, some_of
from karat.datasets._reading.survey import Survey, look_at
from karat.errors import DataError

_CROP_RATIO = 0.9


@dataclass(frozen=True, kw_only=True)
class Flowers102(Published):
    """Oxford Flowers (Nilsback and Zisserman 2008): 20 training images per class, 6,149 test images.

    The published training and validation images together are the training part, from which the validation split
    is cut, as for every data set here. The shorter edge is scaled to `image_size` / 0.9, then `image_size` is
    cropped at the centre. The first training image of a class that `limit_per_class` keeps is the published order's.

    Args:
        root: the folder of the folder `flowers-102`.
        download: whether missing files are downloaded before the study begins.
        image_size: edge of the model's input images, in pixels.
        limit_per_class: images per class in training and in test, 0 for all.
    """

    image_size: int = 224

    source: ClassVar[Any] = Source
    title: ClassVar[str] = "Flowers-102"
    home: ClassVar[str] = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    classes: ClassVar[tuple[str, ...]] = tuple(Source.classes)
    train_counts: ClassVar[tuple[int, ...]] = (20,) * 102
    test_images: ClassVar[int] = 6_149
    mean: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)

    @property
    def folder(self) -> Path:
        """The folder that torchvision expects below the root."""
        return self.root_path / "flowers-102"

    @property
    def url(self) -> str:
        return self.home

    @property
    def unpack(self) -> str:
        return f"put imagelabels.mat, setid.mat and the unpacked 102flowers.tgz (jpg/) from {self.home} into {self.folder}"

    def preprocessing(self) -> Preprocessing:
        size, resize = self.image_size, round(self.image_size / _CROP_RATIO)
        return Preprocessing(
            size=size, resize=resize, mean=self.mean, std=self.std, is_in_bytes=True
        )

    def decode_s(self) -> float:
        files = sorted((self.folder / "jpg").glob("*.jpg"))  # none before the download
        return seconds_of(some_of(files), self.preprocessing())

    def files(self) -> dict[Path, str]:
        return {
            self.folder / name: md5
            for name, md5 in (self.source._file_dict[key] for key in ("label", "setid"))
        }

    def fetch(self, folder: Path) -> None:
        self.source(folder, download=True)

    def parts(self) -> tuple[Any, Any]:
        train, test = super().parts()
        lost = next((path for path, _ in train.samples + test.samples if not path.is_file()), None)
        if lost is not None:
            raise DataError(f"{lost}: there is no such file; {self.unpack}")
        return train, test

    def read(self, *, train: bool) -> "_Files":
        try:
            parts = [
                self.source(self.root_path, split=s)
                for s in (("train", "val") if train else ("test",))
            ]
        except RuntimeError as error:  # the folder of images; other files were checked before
            raise DataError(
                f"{self.folder / 'jpg'}: there is no such folder; {self.unpack}"
            ) from error
        samples = [
            (Path(file), int(label))
            for part in parts
            for file, label in zip(part._image_files, part._labels, strict=True)
        ]
        return _Files(samples, image_transform(self.preprocessing()))

    def looked_at(self, train: Any, test: Any) -> dict[str, Any]:
        survey = Survey(self.root_path, self.preprocessing().resize)
        with ThreadPoolExecutor() as pool:
            for name, part in (("train", train), ("test", test)):
                paths = [path for path, _ in part.samples]
                for path, look in zip(paths, pool.map(look_at, paths), strict=True):
                    survey.add(name, path, look, is_test=name == "test")
        return {
            "sizes": survey.extremes(),
            "modes": dict(survey.modes),
            "changed": survey.changed(),
        }

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(super()._fingerprint().encode())
        for path in sorted((self.folder / "jpg").glob("*.jpg")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.name}\0{content}\n".encode())
        return digest.hexdigest()


class _Files(TorchDataset[Any]):
    """Image files with labels, by torchvision's names for them."""

    def __init__(self, samples: Sequence[tuple[Path, int]], transform: Any) -> None:
        self.samples, self.transform, self.loader = list(samples), transform, read_image
        self.targets = [label for _, label in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        return self.transform(self.loader(path)), label
