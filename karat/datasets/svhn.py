"""SVHN: 99,289 house numbers of 32 x 32 pixels, of ten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from karat.datasets._published import FromTorchvision, Published

if TYPE_CHECKING:
    from karat.datasets._reading.byte_images import ByteImages


@dataclass(frozen=True, kw_only=True)
class Svhn(Published):
    """Street View House Numbers, cropped digits (Netzer et al. 2011): 73,257 training and 26,032 test images.

    Classes are of different sizes, 4,659 to 13,861 training images. The 531,131 `extra` images are not used.

    Args:
        root: the folder with `train_32x32.mat` and `test_32x32.mat`.
        download: whether missing files are downloaded before the study begins.
        image_size: edge in pixels; images are rescaled if it is not 32 (bilinear, antialiased).
        limit_per_class: images per class in training and in test, 0 for all.
    """

    image_size: int = 32

    source = FromTorchvision("SVHN")  # not annotated: a dataclass asks for the value of what is
    title: ClassVar[str] = "SVHN"
    home: ClassVar[str] = "http://ufldl.stanford.edu/housenumbers/"
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    train_counts: ClassVar[tuple[int, ...]] = (
        4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659,
    )  # fmt: skip
    test_images: ClassVar[int] = 26_032
    mean: ClassVar[tuple[float, float, float]] = (0.4377, 0.4438, 0.4728)
    std: ClassVar[tuple[float, float, float]] = (0.1980, 0.2010, 0.1970)

    @property
    def url(self) -> str:
        return self.home

    @property
    def unpack(self) -> str:
        return f"put train_32x32.mat and test_32x32.mat (format 2) from {self.home} into {self.root_path}"

    def files(self) -> dict[Path, str]:
        listed = (self.source.split_list[part] for part in ("train", "test"))
        return {self.root_path / name: md5 for _, name, md5 in listed}

    def fetch(self, folder: Path) -> None:
        for part in ("train", "test"):
            self.source(folder, split=part, download=True)

    def read(self, *, train: bool) -> "ByteImages":
        from karat.datasets._reading.byte_images import ByteImages  # loads torch

        part = self.source(self.root_path, split="train" if train else "test")
        images_NHWC = np.ascontiguousarray(part.data.transpose(0, 2, 3, 1))
        labels = np.atleast_1d(part.labels).tolist()
        return ByteImages(images_NHWC, labels, self.image_size, self.mean, self.std)
