"""Gaussian noise on every pixel and channel."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from karat.datasets._corruptions import Corruption


class Noise(Corruption):
    """Standard deviation of the noise, for pixels from 0 to 1 (`gaussian_noise`)."""

    strengths: ClassVar[tuple[float, ...]] = (0.04, 0.06, 0.08, 0.09, 0.10)

    def apply(
        self, images_BCHW: Tensor, strength: float, draws: Sequence[torch.Generator]
    ) -> Tensor:
        shape = images_BCHW.shape[1:]
        noise = torch.stack([torch.randn(shape, generator=draw) for draw in draws])
        return images_BCHW + strength * noise
