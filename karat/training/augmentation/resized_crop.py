"""A random part of an image, scaled to a given size (RandomResizedCrop).

Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015; torchvision's `RandomResizedCrop`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from karat.training.augmentation.draws import Draws

TRIES = 10
RATIO = (3 / 4, 4 / 3)


def crop_boxes(draws: Draws, heights: Tensor, widths: Tensor, least: float) -> Tensor:
    """Random rectangles: top, left, height and width in pixels, int64 (n, 4).

    Of ten random rectangles the first that fits is taken; if none does, the largest one at the centre.

    Args:
        draws: of the images.
        heights, widths: of the images in pixels, float32 (n,).
        least: smallest share of the area; the largest is 1.
    """
    numbers = draws.uniform("resized crop", 2 * TRIES + 2)
    shares = least + (1 - least) * numbers[:, :TRIES]
    lows, highs = (math.log(each) for each in RATIO)
    ratios = torch.exp(lows + (highs - lows) * numbers[:, TRIES : 2 * TRIES])
    areas = shares * (heights * widths)[:, None]
    tall = torch.cat([(areas / ratios).sqrt().round(), _largest(widths, heights, 1 / RATIO[0])], 1)
    wide = torch.cat([(areas * ratios).sqrt().round(), _largest(heights, widths, RATIO[1])], 1)
    fits = (tall >= 1) & (wide >= 1) & (tall <= heights[:, None]) & (wide <= widths[:, None])
    fits[:, TRIES] = True
    first = fits.int().argmax(1, keepdim=True)
    height, width = (each.gather(1, first)[:, 0] for each in (tall, wide))
    tops = (numbers[:, -2] * (heights - height + 1)).floor()
    lefts = (numbers[:, -1] * (widths - width + 1)).floor()
    at_centre = first[:, 0] == TRIES
    tops = torch.where(at_centre, ((heights - height) / 2).floor(), tops)
    lefts = torch.where(at_centre, ((widths - width) / 2).floor(), lefts)
    return torch.stack([tops, lefts, height, width], 1).long()


def _largest(others: Tensor, own: Tensor, ratio: float) -> Tensor:
    """The longest edge within an image whose other edge may be shorter by at most `ratio`: (n, 1)."""
    return torch.minimum(own, (others * ratio).round())[:, None]


def resized_crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Scale a rectangle of each image to the size of the image, bilinearly.

    No filter against aliasing is needed, since a part of an image only grows.

    Args:
        images: float32 (n, channels, height, width).
        boxes: of `crop_boxes`.
    """
    height, width = images.shape[-2:]
    tops, lefts, tall, wide = boxes.to(images.device).float().T[:, :, None]
    grid = torch.empty(len(images), height, width, 2, device=images.device)
    grid[..., 0] = _places(lefts, wide, width)[:, None, :]
    grid[..., 1] = _places(tops, tall, height)[:, :, None]
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _places(starts: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Where each of `size` pixels is taken from, from -1 to 1: (n, size) for starts and lengths (n, 1)."""
    own = (torch.arange(size, device=starts.device) + 0.5) * lengths / size - 0.5
    # Within the centres of the rectangle's first and last pixels: nothing outside of it counts.
    inside = torch.minimum(own.clamp(min=0), lengths - 1)
    return (2 * (starts + inside) + 1) / size - 1
