"""Gaussian blur."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from karat.datasets._corruptions import EDGE, Corruption

_TRUNCATE = 4.0  # standard deviations at which the kernel ends, as in scipy and scikit-image


class Blur(Corruption):
    """Standard deviation of the blur in pixels of a 32-pixel image (`gaussian_blur`).

    In an image with another edge it is the same share of the edge. Departure: pixels beyond the edge repeat the
    outermost one, also where the kernel is wider than the image.
    """

    strengths: ClassVar[tuple[float, ...]] = (0.4, 0.6, 0.7, 0.8, 1.0)

    def apply(
        self, images_BCHW: Tensor, strength: float, draws: Sequence[torch.Generator]
    ) -> Tensor:
        sigma = strength * images_BCHW.shape[-1] / EDGE
        radius = max(1, math.ceil(_TRUNCATE * sigma))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel = kernel / kernel.sum()
        batch, channels, height, width = images_BCHW.shape
        x = images_BCHW.reshape(batch * channels, 1, height, width)
        x = F.pad(x, (radius, radius, radius, radius), mode="replicate")
        x = F.conv2d(F.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
        return x.reshape(images_BCHW.shape)
