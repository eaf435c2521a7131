"""Decoded images in memory, as bytes; what a model gets of them is bit-equal to what the data set gives."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from karat.training.loading.pixels import Pixels


class StoredImages(Dataset[tuple[Tensor, int]]):
    """Pairs (image as the model's input, label) of one split.

    Args:
        images: uint8 (n, channels, height, width), which may be a memory map.
        labels: int64 (n,).
        pixels: of the data set.
    """

    def __init__(self, images: Tensor, labels: Tensor, pixels: Pixels) -> None:
        self.images, self.labels, self._pixels = images, labels, pixels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._pixels.to_input(self.images[index]), int(self.labels[index])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """As torch's DataLoader asks for a batch."""
        images, labels = self.raw(indices)
        return list(zip(self._pixels.to_input(images), labels.tolist(), strict=True))

    def raw(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pixels, uint8 (n, channels, height, width), and labels, int64 (n,), of some images."""
        chosen = torch.as_tensor(indices)
        # By numpy, in one thread: it copies a few hundred kilobytes.
        images = np.take(self.images.numpy(), chosen.numpy(), axis=0)
        return torch.from_numpy(images), self.labels[chosen]
