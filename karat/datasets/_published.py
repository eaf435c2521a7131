"""The common part of data sets that are published as a few files, which torchvision reads."""

import abc
import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

from karat.datasets import DataInfo, Preprocessing, rest_size
from karat.datasets._on_disk import OnDisk
from karat.datasets._reading.contents import Contents
from karat.datasets._reading.fetch import fetch_once
from karat.errors import DataError


class FromTorchvision:
    """A class of torchvision as an attribute, imported when it is asked for, which takes seconds.

    Args:
        name: of the class, in `torchvision.datasets`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, found: object, owner: type) -> Any:
        from torchvision import datasets

        return getattr(datasets, self._name)


@dataclass(frozen=True, kw_only=True)
class Published(OnDisk):
    """Files that everybody has, verified by their md5 before they are opened, without augmentation.

    `info` checks that they exist, but does not read or download them; `check` downloads; `splits` reads.

    Args:
        root: the folder in which the files are, or the folder of the unpacked archive.
        download: whether missing files are downloaded before the study begins.
        image_size: edge of the model's input images, in pixels.
        limit_per_class: images per class in training and in test, 0 for all.
    """

    download: bool = False

    title: ClassVar[str]
    home: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    train_counts: ClassVar[tuple[int, ...]]  # training images of each class
    test_images: ClassVar[int]
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[tuple[float, float, float]]

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where the files come from."""

    @property
    @abc.abstractmethod
    def unpack(self) -> str:
        """What to put where, as an instruction."""

    @abc.abstractmethod
    def files(self) -> dict[Path, str]:
        """The published files with their md5; empty for one that is checked by being read."""

    @abc.abstractmethod
    def fetch(self, folder: Path) -> None:
        """Download into a folder, as torchvision does, and verify."""

    @abc.abstractmethod
    def read(self, *, train: bool) -> Any:
        """The images of a part, from files that are whole; `targets` has their labels."""

    def counts(self) -> Sequence[int]:
        """Training images of each class."""
        return self.train_counts

    def info(self) -> DataInfo:
        if not self.download:
            self._refuse_missing()
        limit = self.limit_per_class
        counts = [min(limit or count, count) for count in self.counts()]
        return DataInfo(
            image_size=self.image_size,
            channels=3,
            classes=self.classes,
            train_size=rest_size(counts, self.val_share),
            test_size=min(self.test_images, limit * len(self.classes) or self.test_images),
        )

    def preprocessing(self) -> Preprocessing:
        size = self.image_size
        return Preprocessing(size=size, resize=size, mean=self.mean, std=self.std)

    def class_names(self) -> Sequence[str]:
        return self.classes

    def awaits_download(self) -> bool:
        # Without the folder the names of the files are not needed, which torchvision has.
        return self.download and not (self.folder.is_dir() and self._missing() is None)

    def parts(self) -> tuple[Any, Any]:
        self._refuse_missing()
        self._refuse_others()
        train, test = self.read(train=True), self.read(train=False)
        for part in (train, test):
            self._refuse_labels(part.targets)
        return train, test

    def contents(self) -> Contents:
        if self.awaits_download():
            self._download()
        train, test = self.parts()
        splits = self.cut(train, test)  # raises if a class is too small to split
        return Contents(
            fingerprint=self._fingerprint(),
            images=self.images_of(splits),
            **self.looked_at(train, test),
        )

    def looked_at(self, train: Any, test: Any) -> dict[str, Any]:
        """Sizes and modes of the images."""
        edges = {part.images_NCHW.shape[-1] for part in (train, test)}
        sizes = tuple((edge, edge) for edge in sorted(edges))
        return {"sizes": sizes, "modes": {"RGB": len(train) + len(test)}}

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in self.files():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name}\0{content}\n".encode())
        return digest.hexdigest()

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.root_path

    def _missing(self) -> Path | None:
        return next((path for path in self.files() if not path.is_file()), None)

    def _refuse_missing(self) -> None:
        path = self._missing()
        if path is None:
            return
        what = f"{path}: there is no such file"
        if not path.parent.is_dir():
            what = f"{path.parent}: there is no such folder"
        way_out = "" if self.download else ", or set data.download: true"
        raise DataError(f"{what}; {self.unpack}{way_out}")

    def _refuse_others(self) -> None:
        from torchvision.datasets.utils import check_integrity  # loads torch

        for path, md5 in self.files().items():
            if md5 and not check_integrity(path, md5):
                way_out = f"remove it, then {self.unpack} or set data.download: true"
                if self.download:
                    way_out = "remove it, and the next start downloads it again"
                raise DataError(f"{path}: is not the published file, its md5 differs; {way_out}")

    def _refuse_labels(self, labels: Sequence[int]) -> None:
        most = len(self.classes) - 1
        odd = next((label for label in labels if not 0 <= label <= most), None)
        if odd is not None:
            raise DataError(
                f"{self.root_path}: a label of {self.title} is {odd}; those of its {most + 1} classes are 0 to {most}. "
                f"Remove the files, then {self.unpack}"
            )

    def _download(self) -> None:
        try:
            fetch_once(self.root_path, self.awaits_download, self.fetch)
        except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.root_path}: could not download {self.url} ({reason}); nothing is left half-written. "
                f"Start again, or {self.unpack}"
            ) from error
