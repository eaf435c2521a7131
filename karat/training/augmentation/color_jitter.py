"""Random changes of brightness, contrast and saturation, in random order.

Source: torchvision's `ColorJitter`, without hue.
"""

import torch
from torch import Tensor

from karat.training.augmentation.draws import Draws

BRIGHTNESS, CONTRAST, SATURATION = range(3)
_GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow has it


def jitter_of(draws: Draws, strength: float) -> tuple[Tensor, Tensor]:
    """Factors of brightness, contrast and saturation, float32 (n, 3), and their order, int64 (n, 3)."""
    numbers = draws.uniform("color jitter", 6)
    return 1 + strength * (2 * numbers[:, :3] - 1), numbers[:, 3:].argsort(1)


def color_jitter(images: Tensor, factors: Tensor, orders: Tensor) -> Tensor:
    """Change the colours of each image.

    Args:
        images: float32 (n, channels, height, width), 0 to 255; an image of one channel has no saturation.
        factors, orders: of `jitter_of`.
    """
    images = images.clone()
    for place in range(orders.shape[1]):
        for change in range(orders.shape[1]):
            # Found on the CPU, where the draws are: a GPU would have to be waited for.
            chosen = (orders[:, place] == change).nonzero()[:, 0]
            if len(chosen):
                rows = chosen.to(images.device)
                images[rows] = changed(images[rows], change, factors[chosen, change])
    return images


def changed(images: Tensor, change: int, factors: Tensor) -> Tensor:
    """One of the three changes of each image, by a factor of its own (n,)."""
    if change == BRIGHTNESS:
        return blended(torch.zeros_like(images), images, factors)
    if change == SATURATION:
        return blended(grey(images), images, factors)
    return blended(grey(images).mean((1, 2, 3), keepdim=True), images, factors)


def blended(without: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """Images whose difference to `without` is multiplied by a factor for each image (n,)."""
    weights = factors.to(images.device)[:, None, None, None]
    return (without + weights * (images - without)).clamp(0, 255)


def grey(images: Tensor) -> Tensor:
    """The brightness of each pixel: (n, 1, height, width)."""
    if images.shape[1] != len(_GREY):
        return images.mean(1, keepdim=True)
    weights = images.new_tensor(_GREY)[:, None, None]
    return (images * weights).sum(1, keepdim=True)
