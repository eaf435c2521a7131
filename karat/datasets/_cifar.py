"""The common part of CIFAR-10 and CIFAR-100: the published files, read by torchvision."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from karat.datasets._published import Published

if TYPE_CHECKING:
    from karat.datasets._reading.byte_images import ByteImages


@dataclass(frozen=True, kw_only=True)
class Cifar(Published):
    """One of the two CIFAR data sets (Krizhevsky 2009), without augmentation.

    The published files are pickles, so they are opened only after their md5 was verified.

    Args:
        root: the folder of the unpacked archive's folder, which a download creates.
        download: whether missing files are downloaded before the study begins.
        image_size: edge in pixels; images are rescaled if it is not 32 (bilinear, antialiased).
        limit_per_class: images per class in training and in test, 0 for all.
    """

    image_size: int = 32

    source: ClassVar[Any]  # torchvision's class
    base_folder: ClassVar[str]  # as there
    train_per_class: ClassVar[int]
    home: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar.html"

    @property
    def folder(self) -> Path:
        """The folder that torchvision expects below the root."""
        return self.root_path / self.base_folder

    @property
    def url(self) -> str:
        return str(self.source.url)

    @property
    def unpack(self) -> str:
        return (
            f"unpack {self.source.filename}, the python version of {self.title} from {self.home}, "
            f"in {self.root_path}"
        )

    def counts(self) -> Sequence[int]:
        return [self.train_per_class] * len(self.classes)

    def files(self) -> dict[Path, str]:
        source, folder = self.source, self.folder
        listed = [*source.train_list, *source.test_list]
        listed.append([source.meta["filename"], source.meta["md5"]])
        return {folder / name: md5 for name, md5 in listed}

    def fetch(self, folder: Path) -> None:
        self.source(folder, download=True)

    def read(self, *, train: bool) -> "ByteImages":
        from karat.datasets._reading.byte_images import ByteImages  # loads torch

        part = self.source(self.root_path, train=train)
        return ByteImages(part.data, part.targets, self.image_size, self.mean, self.std)
