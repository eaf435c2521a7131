"""The image files of a part of a data set as torchvision's ImageFolder; loads torchvision, which takes seconds."""

from pathlib import Path
from typing import Any

from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchImageFolder

from karat.datasets import Preprocessing
from karat.datasets._reading.decode import read_image
from karat.datasets._reading.listing import listing_of


def image_transform(steps: Preprocessing) -> transforms.Compose:
    """The preprocessing of an image that Pillow has read."""
    return transforms.Compose(
        [
            transforms.Resize(steps.resize),
            transforms.CenterCrop(steps.size),
            transforms.ToTensor(),
            transforms.Normalize(steps.mean, steps.std),
        ]
    )


class Part(TorchImageFolder):
    """torchvision's ImageFolder over the files of a listing, decoded without loss.

    Args:
        folder: of the part.
        transform: of a Pillow image.
    """

    def __init__(self, folder: Path, transform: Any) -> None:
        self._listing = listing_of(folder)
        # allow_empty, since the caller's message also names the expected layout.
        super().__init__(str(folder), transform=transform, loader=read_image, allow_empty=True)
        self.left_out = self._listing.left_out
        del self._listing  # not sent to the processes that load data

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        names = list(self._listing.classes)
        return names, {name: label for label, name in enumerate(names)}

    def make_dataset(self, *_: Any, **__: Any) -> list[tuple[str, int]]:
        return [
            (str(path), label) for label, files in enumerate(self._listing.files) for path in files
        ]
