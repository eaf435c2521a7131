"""Less contrast: every channel is drawn towards its mean."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from karat.datasets._corruptions import Corruption


class Contrast(Corruption):
    """The share of the contrast that is left (`contrast`)."""

    strengths: ClassVar[tuple[float, ...]] = (0.75, 0.5, 0.4, 0.3, 0.15)

    def apply(
        self, images_BCHW: Tensor, strength: float, draws: Sequence[torch.Generator]
    ) -> Tensor:
        means = images_BCHW.mean((2, 3), keepdim=True)
        return (images_BCHW - means) * strength + means
