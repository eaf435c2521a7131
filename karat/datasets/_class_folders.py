"""Images with one folder per class, read by torchvision's ImageFolder."""

import abc
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal

from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchImageFolder

from karat.datasets import DataInfo, Preprocessing, rest_size
from karat.datasets._on_disk import OnDisk, first_of_each
from karat.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ClassFolders(OnDisk):
    """Images in `<part>/<class>/*` below one root.

    A subclass sets the names of the two parts and the text `layout`, which describes the expected
    folders, and implements the transform and the fingerprint of images.

    Args:
        loader: `memory` decodes all images once per node, into a file of `image_size` pixels that all trials share;
            `files` decodes them in each epoch, as sets that do not fit need, and cuts random crops out of the
            whole image. With random crops the two give other images; else the same.
    """

    loader: Literal["memory", "files"] = "memory"

    train_part: ClassVar[str] = "train"
    test_part: ClassVar[str] = "test"
    layout: ClassVar[str]

    @abc.abstractmethod
    def preprocessing(self) -> Preprocessing:
        """From an image to float32 (3, image_size, image_size)."""

    @abc.abstractmethod
    def marks(self, classes: Sequence[Sequence[Path]]) -> Iterable[Sequence[str]]:
        """The contribution of each image to the fingerprint, class by class.

        Raises:
            DataError: an image is empty or unreadable.
        """

    def info(self) -> DataInfo:
        train, _ = self.parts()
        counts = Counter(
            train.targets[i] for i in first_of_each(train.targets, self.limit_per_class)
        )
        return DataInfo(
            image_size=self.image_size,
            channels=3,
            classes=tuple(train.classes),
            train_size=rest_size(counts.values(), self.val_share),
        )

    def check(self) -> str:
        parts = self.parts()
        self.cut(*parts)  # raises if a class is too small to split
        digest = hashlib.sha256()
        for part in parts:
            groups = groupby(part.samples, key=lambda sample: sample[1])
            classes = [[Path(name) for name, _ in samples] for _, samples in groups]
            for files, marks in zip(classes, self.marks(classes), strict=True):
                for file, mark in zip(files, marks, strict=True):
                    digest.update(f"{file.relative_to(self.root_path)}\0{mark}\n".encode())
        return digest.hexdigest()

    def parts(self) -> tuple[TorchImageFolder, TorchImageFolder]:
        train, test = self._part(self.train_part), self._part(self.test_part)
        odd = sorted(set(train.classes) ^ set(test.classes))
        if odd:
            more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
            raise DataError(
                f"{self.root_path}: {self.train_part} and {self.test_part} must have the same classes; "
                f"only in one of them: {', '.join(odd[:5])}{more}"
            )
        return train, test

    def _part(self, name: str) -> TorchImageFolder:
        folder = self.root_path / name
        if not folder.is_dir():
            missing = folder if self.root_path.is_dir() else self.root_path
            raise DataError(f"{missing}: there is no such folder{self._others()}; {self.layout}")
        count = sum(entry.is_dir() for entry in folder.iterdir())
        if count < 2:
            has = f"has {count} class folder{'s' * (count != 1)}"
            raise DataError(f"{folder}: {has}, needs at least 2; {self.layout}")
        # allow_empty, since the check below also names the expected layout.
        part = TorchImageFolder(
            str(folder), transform=image_transform(self.preprocessing()), allow_empty=True
        )
        filled = set(part.targets)
        for label, each in enumerate(part.classes):
            if label not in filled:
                raise DataError(f"{folder / each}: this class folder has no image; {self.layout}")
        return part

    def _others(self) -> str:
        """The folders that are there instead of an expected one, in words."""
        if not self.root_path.is_dir():
            return ""
        found = sorted(entry.name for entry in self.root_path.iterdir() if entry.is_dir())
        return f" (there are: {', '.join(found[:5])})" if found else ""


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


def read_image(path: Path) -> None:
    """Check that an image can be decoded.

    Raises:
        DataError: it cannot.
    """
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error}); replace or remove it") from error
