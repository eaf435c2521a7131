"""Images with one folder per class, read by torchvision's ImageFolder."""

import abc
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from karat.datasets import Contents, DataInfo, Preprocessing, Splits, rest_size
from karat.datasets._on_disk import OnDisk, first_of_each
from karat.datasets._reading.listing import class_names, files_of
from karat.datasets._reading.pace import MOST, seconds_of, some_of
from karat.datasets._reading.survey import Look, Survey
from karat.errors import DataError

if TYPE_CHECKING:
    from karat.datasets._image_files import Part


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
    def looks(self, classes: Sequence[Sequence[Path]]) -> Iterable[Sequence[Look]]:
        """What was seen of each image, class by class.

        Raises:
            DataError: an image is empty or unreadable.
        """

    def info(self) -> DataInfo:
        # Asked for again and again, while a list of all files takes a minute where there are a million.
        parts = (self.root_path / self.train_part, self.root_path / self.test_part)
        return _info_of(self, tuple(map(_changed_at, parts)))

    def listed_info(self) -> DataInfo:
        """`info`, from a list of all files."""
        train, test = self.parts()
        counts = Counter(
            train.targets[i] for i in first_of_each(train.targets, self.limit_per_class)
        )
        return DataInfo(
            image_size=self.image_size,
            channels=3,
            classes=tuple(train.classes),
            train_size=rest_size(counts.values(), self.val_share),
            test_size=len(first_of_each(test.targets, self.limit_per_class)),
        )

    def decode_s(self) -> float:
        folder = self.root_path / self.train_part
        if not folder.is_dir():
            self.parts()  # says what is missing
        # Not all of them are listed, since there may be a million.
        classes = some_of([folder / name for name in class_names(folder)])
        each = MOST // max(1, len(classes))
        files = [file for one in classes for file in some_of(files_of(one), each)]
        return seconds_of(files, self.preprocessing())

    def contents(self) -> Contents:
        train, test = parts = self.parts()
        splits = self.cut(train, test)  # raises if a class is too small to split
        digest, survey = hashlib.sha256(), Survey(self.root_path, self.preprocessing().resize)
        for name, part in zip((self.train_part, self.test_part), parts, strict=True):
            groups = groupby(part.samples, key=lambda sample: sample[1])
            classes = [[Path(name) for name, _ in samples] for _, samples in groups]
            for files, looks in zip(classes, self.looks(classes), strict=True):
                for file, look in zip(files, looks, strict=True):
                    digest.update(f"{file.relative_to(self.root_path)}\0{look.mark}\n".encode())
                    survey.add(name, file, look, is_test=part is test)
        survey.refuse()
        return Contents(
            fingerprint=digest.hexdigest(),
            images=_images_of(splits, train.classes),
            sizes=survey.extremes(),
            modes=dict(survey.modes),
            changed=survey.changed(),
            left_out=(*self._folders_left_out(), *train.left_out, *test.left_out),
            warnings=tuple(survey.warnings()),
        )

    def parts(self) -> tuple["Part", "Part"]:
        train, test = self._part(self.train_part), self._part(self.test_part)
        odd = [
            f"{name} ({where})"
            for where, mine, theirs in (
                (self.train_part, train, test),
                (self.test_part, test, train),
            )
            for name in mine.classes
            if name not in theirs.classes
        ]
        if odd:
            more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
            raise DataError(
                f"{self.root_path}: {self.train_part} and {self.test_part} must have the same classes; "
                f"only in one of them: {', '.join(odd[:5])}{more}. Add these folders with images to the other, or "
                "remove them"
            )
        return train, test

    def place_of(self, label: int, train: Any) -> str:
        return str(self.root_path / self.train_part / train.classes[label])

    def _folders_left_out(self) -> Iterator[str]:
        for name in class_names(self.root_path):
            if name not in (self.train_part, self.test_part):
                yield f"{name}/ is not read: the parts are {self.train_part} and {self.test_part}"

    def _part(self, name: str) -> "Part":
        folder = self.root_path / name
        if not folder.is_dir():
            missing = folder if self.root_path.is_dir() else self.root_path
            raise DataError(f"{missing}: there is no such folder{self._others()}; {self.layout}")
        count = len(class_names(folder))
        if count < 2:
            has = f"has {count} class folder{'s' * (count != 1)}"
            raise DataError(f"{folder}: {has}, needs at least 2; {self.layout}")
        from karat.datasets._image_files import Part, image_transform  # loads torchvision

        part = Part(folder, image_transform(self.preprocessing()))
        filled = set(part.targets)
        for label, each in enumerate(part.classes):
            if label not in filled:
                place = f"{name}/{each}: "
                why = [text.removeprefix(place) for text in part.left_out if text.startswith(place)]
                there = f" ({'; '.join(why)})" if why else ""
                raise DataError(
                    f"{folder / each}: this class folder has no image{there}; {self.layout}"
                )
        return part

    def _others(self) -> str:
        """The folders that are there instead of an expected one, in words."""
        if not self.root_path.is_dir():
            return ""
        found = sorted(entry.name for entry in self.root_path.iterdir() if entry.is_dir())
        return f" (there are: {', '.join(found[:5])})" if found else ""


@functools.lru_cache(maxsize=16)
def _info_of(data: ClassFolders, changed_at: tuple[tuple[int, ...], ...]) -> DataInfo:
    return data.listed_info()


def _changed_at(part: Path) -> tuple[int, ...]:
    """When a part and its class folders were changed, in nanoseconds; empty if the part is missing."""
    if not part.is_dir():
        return ()
    folders = (part, *(part / name for name in class_names(part)))
    return tuple(folder.stat().st_mtime_ns for folder in folders)


def _images_of(splits: Splits, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    found = {}
    for part in ("train", "val", "test"):
        split: Any = getattr(splits, part)
        counts = Counter(split.dataset.targets[index] for index in split.indices)
        found[part] = {name: counts[label] for label, name in enumerate(classes)}
    return found
