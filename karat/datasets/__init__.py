"""Data sets: one file each, registered in `DATASETS` by file name."""

import abc
import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from karat.catalog import Catalog
from karat.datasets._corruptions import CORRUPTIONS, STRENGTHS, check_names
from karat.datasets._reading.contents import Contents, lines_of
from karat.errors import DataError, SettingError, nearest
from karat.settings import build, fraction

if TYPE_CHECKING:
    from torch.utils.data import Dataset as TorchDataset

__all__ = [
    "CORRUPTIONS",
    "DATASETS",
    "STRENGTHS",
    "Contents",
    "DataInfo",
    "Dataset",
    "Images",
    "Preprocessing",
    "Splits",
    "check_names",
    "images_by_class",
    "lines_of",
    "load_splits",
    "make_dataset",
    "rest_size",
    "stratified_split",
]

Images: TypeAlias = "TorchDataset[Any]"


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The shape of a data set: edge of its images in pixels, channels, names of the classes.

    `train_size` is the number of training images without the validation split, `test_size` that of test images,
    None where nobody says it.
    """

    image_size: int
    channels: int
    classes: tuple[str, ...]
    train_size: int
    test_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What makes a model's input of an image as it is stored, with pixels from 0 to 1.

    The shorter edge is scaled to `resize` pixels (bilinear, antialiased), `size` x `size` pixels are cropped at
    the centre, and each channel becomes `(x - mean) / std`.

    Args:
        size: edge of the model's input images, in pixels.
        resize: of the shorter edge; at least `size`.
        mean, std: one for each channel.
        is_in_bytes: whether pixels are multiples of 1/255 after scaling, as where Pillow scales.
    """

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_in_bytes: bool = False

    def __str__(self) -> str:
        return (
            f"shorter edge scaled to {self.resize} px (bilinear, antialiased), {self.size} x {self.size} px "
            f"cropped at the centre, mean {_listed(self.mean)}, std {_listed(self.std)}"
        )


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Three disjoint splits of pairs (image, label): float32 (channels, size, size), 0..classes-1."""

    train: "Images"
    val: "Images"
    test: "Images"


@dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """A data set; its fields are its settings.

    The driver calls `check` before it creates a study; `info` is cheap and may be called at any
    time; each worker calls `splits` once. The splits depend on `split_seed`, never on the seed of a
    trial, so that all trials are compared on the same images.

    Args:
        val_share: fraction of the training data for the validation split, stratified by class; above 0
            and below 1.
        split_seed: seed of the split; the same for all trials.
        corruptions: how the test images are corrupted, in five strengths each, for the confirmation runs, which
            are evaluated on them too; none by default. After Hendrycks and Dietterich 2019.
    """

    val_share: float = 0.15
    split_seed: int = 0
    corruptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fraction("val_share", self.val_share)
        check_names("corruptions", self.corruptions)
        if self.corruptions and self.preprocessing() is None:
            rule = "cannot be computed: the data set does not say how its images are normalised"
            raise SettingError("corruptions", rule, self.corruptions)

    @abc.abstractmethod
    def info(self) -> DataInfo:
        """Shape and classes.

        Raises:
            DataError: the data is missing in the folder that the settings name.
        """

    def preprocessing(self) -> Preprocessing | None:
        """What its images went through; None if that is not known, as for a plug-in that does not say it."""
        return None

    @abc.abstractmethod
    def splits(self) -> Splits:
        """The training, validation and test split."""

    @abc.abstractmethod
    def check(self) -> str:
        """Check all of the data, and return a sha256 that changes when the data changes.

        Raises:
            DataError: a file is missing, empty or unreadable; the message names it.
        """

    def contents(self) -> Contents:
        """Check all of the data, and say what it is. Called by the driver instead of `check`.

        Raises:
            DataError: as `check`.
        """
        return Contents(fingerprint=self.check(), images=self.images_of(self.splits()))

    def decode_s(self) -> float:
        """Seconds of one core to decode an image file, measured on a few; 0 where images are no files.

        Raises:
            DataError: the data is missing, or a file is unreadable.
        """
        return 0.0

    def awaits_download(self) -> bool:
        """Whether `check` would download files; the plan of a study does not."""
        return False

    def class_names(self) -> Sequence[str]:
        """The names of the classes, by label."""
        return self.info().classes

    def images_of(self, splits: Splits) -> dict[str, dict[str, int]]:
        """Split to class to number of images; without a split whose labels are not known unread."""
        labels = {part: _labels_of(getattr(splits, part)) for part in ("train", "val", "test")}
        known = {part: each for part, each in labels.items() if each is not None}
        return images_by_class(self.class_names(), known)


DATASETS = Catalog(Dataset, "data.name")  # type: ignore[type-abstract]


def make_dataset(values: Mapping[str, Any]) -> Dataset:
    """The data set of the section `data` of a space.

    Raises:
        SettingError: the name or a setting is unknown.
    """
    settings = dict(values)
    name = settings.pop("name", None)
    if name is None:
        raise SettingError("data.name", f"is missing. {nearest('', DATASETS)}")
    if not isinstance(name, str):
        raise SettingError("data.name", "must be the name of a data set", name)
    return build(DATASETS[name], settings, "data")


@functools.lru_cache(maxsize=2)
def load_splits(dataset: Dataset) -> Splits:
    """The splits of a data set, cached for the next trial in the same process."""
    return dataset.splits()


def stratified_split(
    labels: list[int],
    share: float,
    seed: int,
    too_few: Callable[[int, int], str] | None = None,
) -> tuple[list[int], list[int]]:
    """Split indices by class: the rest, and a fraction `share` of each class; both ascending.

    Args:
        labels: of all images.
        share: above 0 and below 1.
        seed: of the choice.
        too_few: from a label and its number of images to an error message that names the class.

    Raises:
        DataError: a class has too few images for at least one on both sides.
    """
    of_class: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        of_class.setdefault(label, []).append(index)
    draw = random.Random(seed)
    rest, cut = [], []
    for label, members in sorted(of_class.items()):
        count = _cut_of(len(members), share)
        if count >= len(members):
            if too_few is not None:
                raise DataError(too_few(label, len(members)))
            raise DataError(
                f"class {label} has {len(members)} images, too few to split off {share:g} of them"
            )
        draw.shuffle(members)
        cut += members[:count]
        rest += members[count:]
    return sorted(rest), sorted(cut)


def rest_size(counts: Iterable[int], share: float) -> int:
    """The size of the rest that `stratified_split` returns for classes with these counts."""
    return sum(count - _cut_of(count, share) for count in counts)


def images_by_class(
    names: Sequence[str], labels: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, int]]:
    """Split to class to number of images, from the labels of each split."""
    counts = {part: Counter(each) for part, each in labels.items()}
    return {
        part: {name: count[label] for label, name in enumerate(names)}
        for part, count in counts.items()
    }


def _labels_of(split: Any) -> list[int] | None:
    """The labels of a split in torch's classes, without reading an image."""
    if hasattr(split, "indices") and hasattr(split.dataset, "targets"):
        return [int(split.dataset.targets[index]) for index in split.indices]
    if hasattr(split, "tensors"):
        return [int(label) for label in split.tensors[1].tolist()]
    return None


def _listed(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _cut_of(count: int, share: float) -> int:
    return max(1, round(share * count))
