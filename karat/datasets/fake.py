"""Random images for benchmarks: any size and number, no files, nothing to learn."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from karat.datasets import DataInfo, Dataset, Preprocessing, Splits, rest_size, stratified_split
from karat.errors import SettingError
from karat.seeds import derive
from karat.settings import at_least, at_most

_MOST_IMAGES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Fake(Dataset):
    """Noise, uint8 drawn for each image from its number, so that no image is kept in memory.

    Accuracy is that of guessing: it measures speed, memory and plumbing.

    Args:
        image_size: edge of the images, in pixels.
        channels: 1 or 3.
        classes: number of classes; the images of each are equally many, or one more.
        train_images: number of training images, validation split included; at least two a class.
        test_images: number of test images; at least one a class.
        data_seed: seed of the pixels.
    """

    image_size: int = 32
    channels: int = 3
    classes: int = 10
    train_images: int = 1000
    test_images: int = 200
    data_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("image_size", self.image_size, 1)
        at_most("image_size", self.image_size, 16384)
        if self.channels not in (1, 3):
            raise SettingError("channels", "must be 1 or 3", self.channels)
        at_least("classes", self.classes, 2)
        at_least("train_images", self.train_images, 2 * self.classes)
        at_least("test_images", self.test_images, self.classes)
        for key in ("train_images", "test_images"):
            at_most(key, getattr(self, key), _MOST_IMAGES)
        at_least("data_seed", self.data_seed, 0)

    def info(self) -> DataInfo:
        rest, more = divmod(self.train_images, self.classes)
        counts = [rest + (label < more) for label in range(self.classes)]
        return DataInfo(
            image_size=self.image_size,
            channels=self.channels,
            classes=tuple(map(str, range(self.classes))),
            train_size=rest_size(counts, self.val_share),
            test_size=self.test_images,
        )

    def preprocessing(self) -> Preprocessing:
        half = (0.5,) * self.channels
        return Preprocessing(size=self.image_size, resize=self.image_size, mean=half, std=half)

    def splits(self) -> Splits:
        from torch.utils.data import Subset  # loads torch, which `info` does not need

        train: Any = _Noise(self, "train", self.train_images)
        test: Any = _Noise(self, "test", self.test_images)
        rest, val = stratified_split(train.targets, self.val_share, self.split_seed)
        every = range(self.test_images)
        return Splits(train=Subset(train, rest), val=Subset(train, val), test=Subset(test, every))

    def check(self) -> str:
        made_of = {k: v for k, v in asdict(self).items() if k not in ("val_share", "split_seed")}
        return hashlib.sha256(repr(sorted(made_of.items())).encode()).hexdigest()


class _Noise:
    """Pairs (image, label), each drawn when it is asked for."""

    def __init__(self, data: Fake, part: str, count: int) -> None:
        self.targets = [index % data.classes for index in range(count)]
        self._seed = derive(data.data_seed, "fake", part)
        self._shape = (data.channels, data.image_size, data.image_size)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import torch

        draw = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, index]))
        pixels = torch.from_numpy(draw.integers(0, 256, self._shape, dtype=np.uint8))
        return (pixels / 255 - 0.5) / 0.5, self.targets[index]
