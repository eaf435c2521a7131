"""A random shift by a few pixels, as a crop of the padded image.

Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from karat.training.augmentation.draws import Draws


def shifts_of(draws: Draws, padding: int) -> Tensor:
    """Top and left edge of each part within the padded image, int64 (n, 2)."""
    return (draws.uniform("padded crop", 2) * (2 * padding + 1)).long()


def padded_crop(images: Tensor, shifts: Tensor, padding: int) -> Tensor:
    """Pad each image with black, and cut out a part of its former size.

    Args:
        images: any type (n, channels, height, width).
        shifts: of `shifts_of`.
        padding: pixels on each side.
    """
    count, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (padding,) * 4)
    tops, lefts = shifts.to(device).T
    rows = tops[:, None] + torch.arange(height, device=device)
    columns = lefts[:, None] + torch.arange(width, device=device)
    return padded[
        torch.arange(count, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
