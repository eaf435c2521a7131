"""STL-10: 13,000 labelled images of 96 x 96 pixels in ten classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torchvision.datasets import STL10

from karat.datasets._published import Published

if TYPE_CHECKING:
    from karat.datasets._reading.byte_images import ByteImages


class _Labelled(STL10):
    """Without the 100,000 unlabelled images, which torchvision would read through (2.8 GB) at every start."""

    train_list = STL10.train_list[:2]


@dataclass(frozen=True, kw_only=True)
class Stl10(Published):
    """500 training and 800 test images per class (Coates et al. 2011); the unlabelled ones are not used.

    Args:
        root: the folder of the unpacked archive's folder, `stl10_binary`.
        download: whether missing files are downloaded before the study begins (2.6 GB).
        image_size: edge in pixels; images are rescaled if it is not 96 (bilinear, antialiased).
        limit_per_class: images per class in training and in test, 0 for all.
    """

    image_size: int = 96

    source: ClassVar[Any] = _Labelled
    title: ClassVar[str] = "STL-10"
    home: ClassVar[str] = "https://cs.stanford.edu/~acoates/stl10/"
    classes: ClassVar[tuple[str, ...]] = (
        "airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck",
    )  # fmt: skip
    train_counts: ClassVar[tuple[int, ...]] = (500,) * 10
    test_images: ClassVar[int] = 8_000
    mean: ClassVar[tuple[float, float, float]] = (0.4467, 0.4398, 0.4066)
    std: ClassVar[tuple[float, float, float]] = (0.2603, 0.2566, 0.2713)

    @property
    def url(self) -> str:
        return str(self.source.url)

    @property
    def unpack(self) -> str:
        return f"unpack {self.source.filename} from {self.home} in {self.root_path}"

    def files(self) -> dict[Path, str]:
        folder = self.root_path / self.source.base_folder
        return {folder / name: md5 for name, md5 in self.source.train_list + self.source.test_list}

    def fetch(self, folder: Path) -> None:
        self.source(folder, download=True)

    def read(self, *, train: bool) -> "ByteImages":
        from karat.datasets._reading.byte_images import ByteImages  # loads torch

        part = self.source(self.root_path, split="train" if train else "test")
        images_NHWC = np.ascontiguousarray(part.data.transpose(0, 2, 3, 1))
        # 0 in the file becomes 255 as a byte, which is refused with the labels.
        labels = part.labels.astype(int).tolist()
        return ByteImages(images_NHWC, labels, self.image_size, self.mean, self.std)
