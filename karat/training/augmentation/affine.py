"""Rotations, shears and shifts of images: the geometric operations of RandAugment."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_ROUNDING = 1e-3  # a whole number may come out a little smaller than in Pillow's float64


def affine(images: Tensor, matrices: Tensor, fill: Tensor) -> Tensor:
    """Move the pixels of each image, as Pillow's `Image.transform` does with bilinear interpolation.

    Args:
        images: whole numbers as float32 (n, channels, height, width).
        matrices: from a place in the result to one in the image, in pixels (x, y, 1) with the origin at the corner:
            float32 (n, 2, 3).
        fill: value of each channel where nothing is in the image, float32 (channels,).
    """
    height, width = images.shape[-2:]
    device = images.device
    rows, columns = (torch.arange(size, device=device) + 0.5 for size in (height, width))
    a, b, c = matrices.to(device)[:, :, :, None, None].unbind(2)  # each (n, 2, 1, 1)
    places = a * columns + b * rows[:, None] + c
    sizes = torch.tensor([width, height], device=device)[:, None, None]
    inside = ((places >= 0) & (places < sizes)).all(1)
    grid = (2 * places / sizes - 1).permute(0, 2, 3, 1)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    truncated = (moved + _ROUNDING).floor()  # as Pillow does
    return torch.where(inside[:, None], truncated, fill.to(device)[:, None, None])


def rotations(degrees: Tensor, height: int, width: int) -> Tensor:
    """Matrices of rotations about the centre, counter-clockwise: (n, 2, 3) for degrees (n,)."""
    angles = -degrees * math.pi / 180
    cos, sin = angles.cos(), angles.sin()
    x, y = width / 2, height / 2
    rows = [
        torch.stack([cos, sin, x - cos * x - sin * y], 1),
        torch.stack([-sin, cos, y + sin * x - cos * y], 1),
    ]
    return torch.stack(rows, 1)


def changed_identity(values: Tensor, row: int, column: int) -> Tensor:
    """Identity matrices with one other entry: a shear (0, 1) or (1, 0), or a shift (0, 2) or (1, 2), (n, 2, 3)."""
    matrices = torch.eye(2, 3).repeat(len(values), 1, 1)
    matrices[:, row, column] = values
    return matrices
