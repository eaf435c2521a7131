"""Fewer pixels: the image is made smaller, and as large as it was again."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from karat.datasets._corruptions import Corruption


class Pixelate(Corruption):
    """The share of the edge to which the image is scaled down and up again (`pixelate`), with a box filter."""

    strengths: ClassVar[tuple[float, ...]] = (0.95, 0.9, 0.85, 0.75, 0.65)

    def apply(
        self, images_BCHW: Tensor, strength: float, draws: Sequence[torch.Generator]
    ) -> Tensor:
        x = images_BCHW
        for axis in (2, 3):
            size = x.shape[axis]
            smaller = max(1, int(size * strength))
            there, back = _box(size, smaller), _box(smaller, size)
            x = torch.tensordot(x, (back @ there).T, ([axis], [0])).movedim(-1, axis)
        return x


def _box(before: int, after: int) -> Tensor:
    """The matrix (after, before) of Pillow's box filter.

    Made smaller, a pixel is the mean of the pixels whose centres it covers; made larger, the nearest one.
    """
    scale = before / after
    support = 0.5 * max(1.0, scale)
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    offsets = torch.arange(before, dtype=torch.float64) + 0.5 - centres[:, None]
    # Half open, as in Pillow's `box_filter`: a centre on the border counts once.
    covered = ((offsets > -support) & (offsets <= support)).double()
    return (covered / covered.sum(1, keepdim=True)).float()
