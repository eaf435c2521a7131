"""The common part of CIFAR-10 and CIFAR-100: the published files, read by torchvision."""

import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset as TorchDataset
from torchvision.datasets.utils import check_integrity

from karat.datasets import DataInfo, Preprocessing, rest_size
from karat.datasets._on_disk import OnDisk
from karat.errors import DataError

_HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
_EDGE = 32


@dataclass(frozen=True, kw_only=True)
class Cifar(OnDisk):
    """One of the two CIFAR data sets (Krizhevsky 2009), without augmentation.

    The published files are pickles, so they are opened only after their md5 was verified. `info`
    checks that they exist, but does not read or download them; `check` downloads; `splits` reads.

    Args:
        root: the folder of the unpacked archive's folder, which a download creates.
        download: whether missing files are downloaded before the study begins.
        image_size: edge in pixels; images are rescaled if it is not 32 (bilinear, antialiased).
        limit_per_class: images per class in training and in test, 0 for all.
    """

    download: bool = False
    image_size: int = _EDGE

    source: ClassVar[Any]  # torchvision's class
    title: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    train_per_class: ClassVar[int]
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[tuple[float, float, float]]

    def info(self) -> DataInfo:
        if not self.download:
            self._refuse_missing()
        count = min(self.limit_per_class or self.train_per_class, self.train_per_class)
        return DataInfo(
            image_size=self.image_size,
            channels=3,
            classes=self.classes,
            train_size=rest_size([count] * len(self.classes), self.val_share),
        )

    def preprocessing(self) -> Preprocessing:
        size = self.image_size
        return Preprocessing(size=size, resize=size, mean=self.mean, std=self.std)

    def parts(self) -> tuple["_ByteImages", "_ByteImages"]:
        self._refuse_missing()
        return self._read(train=True), self._read(train=False)

    def check(self) -> str:
        if self.download and self._missing():
            self._download()
        self.splits()  # raises if a file is missing or broken, or a class too small to split
        digest = hashlib.sha256()
        for path in self._files():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name}\0{content}\n".encode())
        return digest.hexdigest()

    @property
    def _unpack(self) -> str:
        return (
            f"unpack {self.source.filename}, the python version of {self.title} from {_HOME}, "
            f"in {self.root_path}"
        )

    def _files(self) -> dict[Path, str]:
        """The published files with their md5."""
        source, folder = self.source, self.root_path / self.source.base_folder
        listed = [*source.train_list, *source.test_list]
        listed.append([source.meta["filename"], source.meta["md5"]])
        return {folder / name: md5 for name, md5 in listed}

    def _missing(self) -> Path | None:
        return next((path for path in self._files() if not path.is_file()), None)

    def _refuse_missing(self) -> None:
        path = self._missing()
        if path is None:
            return
        what = f"{path}: there is no such file"
        if not path.parent.is_dir():
            what = f"{path.parent}: there is no such folder"
        way_out = "" if self.download else ", or set data.download: true"
        raise DataError(f"{what}; {self._unpack}{way_out}")

    def _download(self) -> None:
        try:
            self.source(self.root_path, download=True)
        except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.root_path}: could not download {self.source.url} ({reason}); {self._unpack}"
            ) from error

    def _read(self, *, train: bool) -> "_ByteImages":
        try:
            part = self.source(self.root_path, train=train)
        except RuntimeError as error:
            raise DataError(self._what_is_broken()) from error
        return _ByteImages(part.data, part.targets, self.image_size, self.mean, self.std)

    def _what_is_broken(self) -> str:
        broken = [path for path, md5 in self._files().items() if not check_integrity(path, md5)]
        assert broken
        way_out = f"remove it, then {self._unpack} or set data.download: true"
        if self.download:
            way_out = "remove it, and the next start downloads it again"
        return f"{broken[0]}: is not the published file, its md5 differs; {way_out}"


class _ByteImages(TorchDataset[tuple[Tensor, int]]):
    """Images stored as bytes, a quarter of their size in float32, and normalised on access.

    Args:
        images_NHWC: images, uint8.
        targets: label of each image.
        size: edge to which images are rescaled, in pixels.
        mean, std: normalisation of each channel, for pixels from 0 to 1.
    """

    def __init__(
        self,
        images_NHWC: np.ndarray,
        targets: list[int],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
        self.targets, self.size = targets, size
        self.mean, self.std = (torch.tensor(each).reshape(3, 1, 1) for each in (mean, std))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images_NCHW[index] / 255
        if self.size != _EDGE:
            image = F.interpolate(
                image[None], (self.size, self.size), mode="bilinear", antialias=True
            )[0]
        return (image - self.mean) / self.std, self.targets[index]
