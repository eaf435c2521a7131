"""A rectangle of noise in an image, after normalisation.

Source: Zhong et al., "Random erasing data augmentation", AAAI 2020; timm's `RandomErasing` with mode `pixel`.
"""

import math

import torch
from torch import Tensor

from karat.training.augmentation.draws import Draws

TRIES = 10
AREA = (0.02, 1 / 3)
RATIO = (0.3, 1 / 0.3)


def erased_boxes(draws: Draws, probability: float, height: int, width: int) -> Tensor:
    """Rectangles: top, left, height and width in pixels, int64 (n, 4); of height and width 0 for no change.

    Of ten random rectangles the first that fits is taken; if none does, the image stays as it is.
    """
    numbers = draws.uniform("random erasing", 2 * TRIES + 3)
    shares = AREA[0] + (AREA[1] - AREA[0]) * numbers[:, :TRIES]
    lows, highs = (math.log(each) for each in RATIO)
    ratios = torch.exp(lows + (highs - lows) * numbers[:, TRIES : 2 * TRIES])
    areas = shares * height * width
    tall, wide = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(1, keepdim=True)
    erased = fits.any(1) & (numbers[:, -1] < probability)
    tall, wide = (each.gather(1, first)[:, 0] * erased for each in (tall, wide))
    tops = (numbers[:, -3] * (height - tall + 1)).floor()
    lefts = (numbers[:, -2] * (width - wide + 1)).floor()
    return torch.stack([tops, lefts, tall, wide], 1).long()


def random_erasing(images: Tensor, boxes: Tensor, draws: Draws) -> Tensor:
    """Replace the rectangles by standard normal noise.

    Args:
        images: normalised, float32 (n, channels, height, width).
        boxes: of `erased_boxes`.
        draws: of the images, for the noise.
    """
    chosen = (boxes[:, 2] > 0).nonzero()[:, 0]
    if not len(chosen):
        return images
    rows = chosen.to(images.device)
    found = images[rows]
    noise = draws.of(chosen).normal("erased pixels", found[0].numel(), images.device)
    inside = within(boxes[chosen].to(images.device), *found.shape[-2:])
    images = images.clone()
    images[rows] = torch.where(inside, noise.reshape(found.shape), found)
    return images


def within(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels are in the rectangle of each image: bool (n, 1, height, width)."""
    tops, lefts, tall, wide = boxes.T[:, :, None]
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    in_rows = (rows >= tops) & (rows < tops + tall)
    in_columns = (columns >= lefts) & (columns < lefts + wide)
    inside: Tensor = in_rows[:, :, None] & in_columns[:, None, :]
    return inside[:, None]
