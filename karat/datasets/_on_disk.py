"""Training and test images that lie in a folder of the user's."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from karat.datasets import Dataset, Splits, stratified_split
from karat.errors import SettingError
from karat.settings import at_least, at_most


@dataclass(frozen=True, kw_only=True)
class OnDisk(Dataset):
    """Two parts under one root; validation is cut from the training part.

    Args:
        root: the folder that holds the data; `~` is the home folder.
        image_size: edge of the images that the model gets, in pixels.
        limit_per_class: images used of each class, 0 for all; in training and test alike.
    """

    root: str
    image_size: int
    limit_per_class: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if ".." in Path(self.root).parts:
            raise SettingError("root", "must name the folder itself, without ..", self.root)
        at_least("image_size", self.image_size, 1)
        at_most("image_size", self.image_size, 16384)
        at_least("limit_per_class", self.limit_per_class, 0)

    @property
    def place(self) -> Path:
        """`root` as a path."""
        return Path(self.root).expanduser()

    @abc.abstractmethod
    def parts(self) -> tuple[Any, Any]:
        """The training and the test images, whole; the list `targets` of each holds the labels.

        Raises:
            DataError: something is missing, empty or broken.
        """

    def splits(self) -> Splits:
        return self.cut(*self.parts())

    def cut(self, train: Any, test: Any) -> Splits:
        """The splits of the two parts, limited.

        Raises:
            DataError: too few images of a class.
        """
        chosen = first_of_each(train.targets, self.limit_per_class)
        rest, val = stratified_split(
            [train.targets[i] for i in chosen], self.val_share, self.split_seed
        )
        return Splits(
            train=Subset(train, [chosen[i] for i in rest]),
            val=Subset(train, [chosen[i] for i in val]),
            test=Subset(test, first_of_each(test.targets, self.limit_per_class)),
        )


def first_of_each(labels: Sequence[int], limit: int) -> list[int]:
    """Indices of the first `limit` images of each class, ascending; of all images for 0."""
    if not limit:
        return list(range(len(labels)))
    seen: dict[int, int] = {}
    chosen = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= limit:
            chosen.append(index)
    return chosen
