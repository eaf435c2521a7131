"""Data sets: one file each, found by `DATASETS`."""

import abc
import functools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from karat.catalog import Catalog
from karat.errors import DataError, SettingError
from karat.settings import above, below, build

if TYPE_CHECKING:
    from torch.utils.data import Dataset as TorchDataset

__all__ = [
    "DATASETS",
    "DataInfo",
    "Dataset",
    "Images",
    "Splits",
    "load_splits",
    "make_dataset",
    "rest_size",
    "stratified_split",
]

Images: TypeAlias = "TorchDataset[Any]"


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What a model must know of a data set: image edge in pixels, channels, class names.

    `train_size` is the number of training images, the validation split left out.
    """

    image_size: int
    channels: int
    classes: tuple[str, ...]
    train_size: int


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three disjoint parts of (image, label): float32 (channels, size, size), 0..classes-1."""

    train: "Images"
    val: "Images"
    test: "Images"


@dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """A data set; its fields are its settings.

    `check` is called before a study is created, in the driver; `info` may be called at any
    time and is cheap; `splits` is called in each worker once. The split is fixed by
    `split_seed`, never by a trial's seed.

    Args:
        val_share: share of the training data cut off as validation split, stratified.
        split_seed: fixes the split.
    """

    val_share: float = 0.15
    split_seed: int = 0

    def __post_init__(self) -> None:
        above("val_share", self.val_share, 0)
        below("val_share", self.val_share, 1)

    @abc.abstractmethod
    def info(self) -> DataInfo:
        """Shape and classes.

        Raises:
            DataError: the data is not where the settings say.
        """

    @abc.abstractmethod
    def splits(self) -> Splits:
        """The three parts."""

    @abc.abstractmethod
    def check(self) -> str:
        """Look at all of the data once, and return a sha256 that changes when the data does.

        Raises:
            DataError: something is missing, empty or unreadable; the message says what and where.
        """


DATASETS = Catalog(Dataset, "data.name")  # type: ignore[type-abstract]


def make_dataset(values: Mapping[str, Any]) -> Dataset:
    """The data set that the `data` section names.

    Raises:
        SettingError: unknown name or setting.
    """
    settings = dict(values)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise SettingError("data.name", "must be the name of a data set", name)
    return build(DATASETS[name], settings, "data")


@functools.lru_cache(maxsize=2)
def load_splits(dataset: Dataset) -> Splits:
    """The splits of a data set, kept for the next trial in the same process."""
    return dataset.splits()


def stratified_split(labels: list[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the rest and of a stratified `share`, each in ascending order.

    Raises:
        DataError: too few images for one of each class on both sides.
    """
    of_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        of_class.setdefault(label, []).append(index)
    draw = random.Random(seed)
    rest, cut = [], []
    for label, members in sorted(of_class.items()):
        count = _cut_of(len(members), share)
        if count >= len(members):
            raise DataError(
                f"class {label} has {len(members)} images, too few to split off {share:g} of them"
            )
        draw.shuffle(members)
        cut += members[:count]
        rest += members[count:]
    return sorted(rest), sorted(cut)


def rest_size(counts: Iterable[int], share: float) -> int:
    """Images that `stratified_split` leaves of classes that have so many each."""
    return sum(count - _cut_of(count, share) for count in counts)


def _cut_of(count: int, share: float) -> int:
    return max(1, round(share * count))
