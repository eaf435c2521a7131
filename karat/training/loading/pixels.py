"""Pixels and a model's input: the one from the other, as the data set itself computes it."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karat.datasets import Preprocessing

_INEXACT = 0.01  # more than the rounding of a normalised byte


class Pixels:
    """The normalisation of a data set.

    Args:
        steps: of the data set.
    """

    def __init__(self, steps: Preprocessing) -> None:
        self._mean, self._std = (
            torch.tensor(each)[:, None, None] for each in (steps.mean, steps.std)
        )
        self._most = torch.tensor(255.0)

    @property
    def mean(self) -> Tensor:
        """The mean of each channel as a pixel's value, a whole number from 0 to 255: float32 (channels,)."""
        return (self._mean[:, 0, 0] * 255).round().clamp(0, 255)

    def to_input(self, images: Tensor) -> Tensor:
        """Pixels as a model's input, bit-equal to what torchvision's `ToTensor` and `Normalize` make of them.

        Args:
            images: uint8, or float32 from 0 to 255, (n, channels, height, width) or of one image.
        """
        if images.dtype == torch.uint8 and images.device.type == "cpu" and images.ndim == 4:
            return self._looked_up(images)
        mean, std, most = (each.to(images.device) for each in (self._mean, self._std, self._most))
        # A tensor as divisor: by a number, a GPU multiplies with its reciprocal, and the last bit differs.
        return images.float().div(most).sub_(mean).div_(std)

    def _looked_up(self, images: Tensor) -> Tensor:
        """The input of each pixel from a table, in one pass and one thread: half the time of three operations.

        With several threads small operations mostly wait for each other where cores are busy.
        """
        found = np.empty(images.shape, dtype=np.float32)
        for channel, table in enumerate(self._tables(images.shape[1])):
            np.take(table, images[:, channel].numpy(), out=found[:, channel], mode="clip")
        return torch.from_numpy(found)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a trainer has one of these objects
    def _tables(self, channels: int) -> NDArray[np.float32]:
        values = torch.arange(256.0).expand(channels, 1, 256)
        tables: NDArray[np.float32] = self.to_input(values)[:, 0].numpy()
        return tables

    def of_input(self, images: Tensor) -> Tensor:
        """Pixels as float32 from 0 to 255, of pixels as uint8 or of a model's input as float32."""
        if images.dtype == torch.uint8:
            return images.float()
        mean, std = (each.to(images.device) for each in (self._mean, self._std))
        found = images.mul(std).add_(mean).mul_(255).clamp_(0, 255)
        whole = found.round()
        # What were bytes are the same numbers again, whether images were kept as bytes or not.
        return whole if (found - whole).abs().max() < _INEXACT else found

    def as_bytes(self, image: Tensor) -> Tensor | None:
        """The uint8 pixels from which `to_input` makes exactly this input; None if there are none."""
        found = self.of_input(image).round_().to(torch.uint8)
        return found if torch.equal(self.to_input(found), image) else None
