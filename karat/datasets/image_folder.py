"""A folder of images: `train/<class>/*` and `test/<class>/*`, in torchvision's ImageFolder layout."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from karat.datasets import Preprocessing
from karat.datasets._class_folders import ClassFolders
from karat.datasets._reading.survey import Look, look_at
from karat.settings import above, below


@dataclass(frozen=True, kw_only=True)
class ImageFolder(ClassFolders):
    """The user's images, with one folder per class.

    Args:
        root: the folder with the folders `train` and `test`.
        image_size: images are scaled and cropped at the centre to this edge, in pixels.
        limit_per_class: images per class in training and in test, 0 for all.
        mean: subtracted from all channels, for pixels from 0 to 1; below 1.
        std: by which all channels are divided then, above 0.
    """

    image_size: int = 32
    mean: float = 0.5
    std: float = 0.25

    layout: ClassVar[str] = "expected train/<class>/*.png and test/<class>/*.png (or .jpg, ...)"

    def __post_init__(self) -> None:
        super().__post_init__()
        above("std", self.std, 0)
        below("mean", self.mean, 1)

    def preprocessing(self) -> Preprocessing:
        size, mean, std = self.image_size, (self.mean,) * 3, (self.std,) * 3
        return Preprocessing(size=size, resize=size, mean=mean, std=std, is_in_bytes=True)

    def looks(self, classes: Sequence[Sequence[Path]]) -> Iterable[Sequence[Look]]:
        with ThreadPoolExecutor() as pool:
            for files in classes:
                yield list(pool.map(look_at, files))
