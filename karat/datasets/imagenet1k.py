"""ImageNet-1K (ILSVRC 2012) in the usual folders: `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`."""

import functools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from karat.datasets import DataInfo, Preprocessing
from karat.datasets._class_folders import ClassFolders
from karat.datasets._reading.decode import decode
from karat.datasets._reading.listing import is_image
from karat.datasets._reading.survey import Look
from karat.errors import DataError

if TYPE_CHECKING:
    from karat.datasets._image_files import Part

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_CROP_RATIO = 0.9


@dataclass(frozen=True, kw_only=True)
class ImageNet1k(ClassFolders):
    """ImageNet-1K without augmentation; the names of classes are their wnids.

    The test split is `val`, whose labels are public; the validation split comes from `train`. The
    shorter edge is scaled to `image_size` / 0.9, then `image_size` is cropped at the centre. `info`
    is cached in each process, since listing 1.3 million files takes seconds.

    `check` reads the size of every file and decodes the smallest image of each class, since
    decoding 1.3 million images takes hours; its sha256 is over names and sizes.

    Args:
        root: the folder with the folders `train` and `val`.
        image_size: edge of the model's input images, in pixels.
        limit_per_class: images per class in training and in test, 0 for all.
    """

    image_size: int = 224
    loader: Literal["memory", "files"] = "files"

    test_part: ClassVar[str] = "val"
    layout: ClassVar[str] = (
        "expected train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, "
        "the unpacked ILSVRC 2012 images from https://www.image-net.org/download.php"
    )

    def info(self) -> DataInfo:
        return _info(self)

    def preprocessing(self) -> Preprocessing:
        size, resize = self.image_size, round(self.image_size / _CROP_RATIO)
        return Preprocessing(size=size, resize=resize, mean=_MEAN, std=_STD, is_in_bytes=True)

    def parts(self) -> "tuple[Part, Part]":
        val = self.root_path / self.test_part
        if val.is_dir():
            entries = list(val.iterdir())
            flat = any(is_image(entry.name) for entry in entries)
            if flat and not any(entry.is_dir() for entry in entries):
                raise DataError(
                    f"{val}: has images but no class folders; move each image into the folder "
                    "of its class (val/<wnid>/*.JPEG), as valprep.sh does for PyTorch's examples"
                )
        return super().parts()

    def looks(self, classes: Sequence[Sequence[Path]]) -> Iterable[Sequence[Look]]:
        with ThreadPoolExecutor() as pool:
            yield from pool.map(_sizes, classes)


@functools.lru_cache(maxsize=4)
def _info(data: ImageNet1k) -> DataInfo:
    return ClassFolders.info(data)


def _sizes(files: Sequence[Path]) -> list[Look]:
    """The size of each image of a class in bytes; decodes the smallest, the likeliest to be truncated."""
    sizes = [file.stat().st_size for file in files]
    smallest = files[sizes.index(min(sizes))]
    if not min(sizes):
        raise DataError(f"{smallest}: is an empty file; replace or remove it")
    decode(smallest)
    return [Look(str(size)) for size in sizes]
