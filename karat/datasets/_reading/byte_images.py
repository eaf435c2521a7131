"""Images of one size, in memory as bytes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset as TorchDataset


class ByteImages(TorchDataset[tuple[Tensor, int]]):
    """Images stored as bytes, a quarter of their size in float32, and normalised on access.

    Args:
        images_NHWC: images, uint8.
        targets: label of each image.
        size: edge to which images are rescaled, in pixels.
        mean, std: normalisation of each channel, for pixels from 0 to 1.
    """

    def __init__(
        self,
        images_NHWC: np.ndarray,
        targets: list[int],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
        self.targets, self.size = targets, size
        self.mean, self.std = (torch.tensor(each).reshape(3, 1, 1) for each in (mean, std))

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images_NCHW[index] / 255
        if image.shape[-1] != self.size:
            image = F.interpolate(
                image[None], (self.size, self.size), mode="bilinear", antialias=True
            )[0]
        return (image - self.mean) / self.std, self.targets[index]
