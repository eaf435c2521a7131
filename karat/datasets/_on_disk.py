"""Training and test images in a folder that the user names."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.datasets import Dataset, Splits, stratified_split
from karat.datasets._reading.contents import Contents
from karat.errors import SettingError
from karat.settings import at_least, at_most


@dataclass(frozen=True, kw_only=True)
class OnDisk(Dataset):
    """A data set with a training and a test part; validation is split from the training part.

    Args:
        root: the folder of the data; `~` is the home folder.
        image_size: edge of the model's input images, in pixels.
        limit_per_class: images per class in training and in test, 0 for all.
    """

    root: str
    image_size: int
    limit_per_class: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if ".." in Path(self.root).parts:
            raise SettingError("root", "must be a path without ..", self.root)
        at_least("image_size", self.image_size, 1)
        at_most("image_size", self.image_size, 16384)
        at_least("limit_per_class", self.limit_per_class, 0)

    @property
    def root_path(self) -> Path:
        """`root` as a path."""
        return Path(self.root).expanduser()

    @abc.abstractmethod
    def parts(self) -> tuple[Any, Any]:
        """All training and all test images; the list `targets` of each part contains the labels.

        Raises:
            DataError: a file is missing, empty or broken.
        """

    def splits(self) -> Splits:
        return self.cut(*self.parts())

    def check(self) -> str:
        return self.contents().fingerprint

    @abc.abstractmethod
    def contents(self) -> Contents:
        """What was read and what was left out."""

    def place_of(self, label: int, train: Any) -> str:
        """How a message names a class of the training part: its folder, or its name."""
        return f"class {self.class_names()[label]}"

    def cut(self, train: Any, test: Any) -> Splits:
        """The splits of the two parts, with `limit_per_class` applied.

        Raises:
            DataError: a class has too few images.
        """
        from torch.utils.data import Subset  # loads torch, which `info` does not need

        chosen = first_of_each(train.targets, self.limit_per_class)

        def too_few(label: int, count: int) -> str:
            limited = self.limit_per_class and train.targets.count(label) > count
            more = "raise data.limit_per_class" if limited else "add images, or remove the class"
            return (
                f"{self.place_of(label, train)}: has {count} image{'s' * (count != 1)} to train with, too few to split "
                f"{100 * self.val_share:.0f} % of them off for validation; {more}"
            )

        labels = [train.targets[i] for i in chosen]
        rest, val = stratified_split(labels, self.val_share, self.split_seed, too_few)
        return Splits(
            train=Subset(train, [chosen[i] for i in rest]),
            val=Subset(train, [chosen[i] for i in val]),
            test=Subset(test, first_of_each(test.targets, self.limit_per_class)),
        )


def first_of_each(labels: Sequence[int], limit: int) -> list[int]:
    """Indices of the first `limit` images of each class, ascending; all indices for 0."""
    if not limit:
        return list(range(len(labels)))
    seen: dict[int, int] = {}
    chosen = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= limit:
            chosen.append(index)
    return chosen
