"""More brightness."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from karat.datasets._corruptions import Corruption


class Brightness(Corruption):
    """What is added to the value of a pixel's hue, saturation and value (`brightness`).

    The value is the highest of the channels. With hue and saturation kept, all channels of a pixel grow by the same
    factor; a black pixel becomes grey. For grey images it is added to the pixel.
    """

    strengths: ClassVar[tuple[float, ...]] = (0.05, 0.1, 0.15, 0.2, 0.3)

    def apply(
        self, images_BCHW: Tensor, strength: float, draws: Sequence[torch.Generator]
    ) -> Tensor:
        value = images_BCHW.amax(1, keepdim=True)
        brighter = (value + strength).clamp(max=1)
        scaled = images_BCHW * (brighter / value.clamp(min=1e-6))
        return torch.where(value > 0, scaled, brighter)
