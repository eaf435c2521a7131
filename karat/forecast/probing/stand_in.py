"""A few images in memory in place of all, for a probe of a data set that a study decodes once per node.

Without them a probe would decode the images of its steps, which the steps of a study do not, or all images first,
which takes minutes to hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from karat.datasets import DataInfo, Dataset, Preprocessing, Splits, load_splits
from karat.forecast.speed.decoding import decodes_each_epoch
from karat.training.loading.pixels import Pixels
from karat.training.loading.stored import StoredImages

FEW = 64


@dataclass(frozen=True, kw_only=True)
class StandIn(Dataset):
    """A data set of the size and shape of another one, whose splits repeat a few of its training images.

    Args:
        of: the other one.
    """

    of: Dataset

    def info(self) -> DataInfo:
        return self.of.info()

    def preprocessing(self) -> Preprocessing | None:
        return self.of.preprocessing()

    def check(self) -> str:
        return self.of.check()

    def splits(self) -> Splits:
        splits: Any = load_splits(self.of)
        steps = self.of.preprocessing()
        few = [splits.train[index] for index in range(min(FEW, len(splits.train)))]
        pixels = None if steps is None else Pixels(steps)
        images = pixels.as_bytes(torch.stack([image for image, _ in few])) if pixels else None
        if pixels is None or images is None:  # a study does not keep them decoded, either
            return load_splits(self.of)
        stored = StoredImages(images, torch.tensor([int(label) for _, label in few]), pixels)
        parts = (splits.train, splits.val, splits.test)
        train, val, test = (_Repeated(stored, len(each)) for each in parts)
        return Splits(train=train, val=val, test=test)


class _Repeated(StoredImages):
    """Stored images, as often as they are needed.

    Args:
        stored: the images.
        count: how many to be.
    """

    def __init__(self, stored: StoredImages, count: int) -> None:
        super().__init__(stored.images, stored.labels, stored._pixels)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return super().__getitem__(index % len(self.images))

    def raw(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        return super().raw(torch.as_tensor(indices) % len(self.images))  # type: ignore[arg-type]


def stand_in(data: Dataset) -> Dataset:
    """The data set to probe with: itself where its images are decoded in every epoch."""
    return data if decodes_each_epoch(data) else StandIn(of=data)
