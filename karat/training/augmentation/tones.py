"""Operations of RandAugment on the values of pixels; each as Pillow has it, to the last bit.

Images are whole numbers from 0 to 255 as float32 (n, channels, height, width), and so are the results. A parameter is
one number for each image: float32 (n,).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from karat.training.augmentation.color_jitter import blended

_LEVELS = 256


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch each channel to the whole range; a channel of one value stays."""
    lows = images.amin((2, 3), keepdim=True)
    spans = images.amax((2, 3), keepdim=True) - lows
    # In float64, as Pillow: the product is truncated, and may be a whole number.
    scales = 255.0 / spans.double()
    stretched = (images * scales - lows * scales).floor().clamp(0, 255).float()
    return torch.where(spans > 0, stretched, images)


def equalize(images: Tensor) -> Tensor:
    """Give each channel a histogram as flat as whole numbers allow."""
    count, channels, height, width = images.shape
    values = images.long().reshape(count * channels, height * width)
    histograms = torch.zeros(len(values), _LEVELS, dtype=torch.long, device=images.device)
    histograms.scatter_add_(1, values, torch.ones_like(values))
    last = histograms.gather(1, values.amax(1, keepdim=True))
    steps = (height * width - last) // 255
    before = histograms.cumsum(1) - histograms
    tables = (before + steps // 2) // steps.clamp(min=1)
    found = tables.clamp(max=255).gather(1, values)
    return torch.where(steps > 0, found, values).reshape(images.shape).float()


def invert(images: Tensor) -> Tensor:
    """The negative of each image."""
    return 255 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of each value; 8 change nothing."""
    sizes = (2.0 ** (8 - bits.clamp(max=8))).to(images.device)[:, None, None, None]
    return (images / sizes).floor() * sizes


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the values that are not below a threshold."""
    least = thresholds.to(images.device)[:, None, None, None]
    return torch.where(images < least, images, 255 - images)


def solarize_add(images: Tensor, added: Tensor) -> Tensor:
    """Add to the values below 128."""
    more = (images + added.to(images.device)[:, None, None, None]).clamp(max=255)
    return torch.where(images < 128, more, images)


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance to black."""
    return blended(torch.zeros_like(images), images, factors).floor()


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance to the mean brightness of the image."""
    means = (whole_grey(images).double().mean((1, 2, 3), keepdim=True) + 0.5).floor().float()
    return blended(means, images, factors).floor()


def color(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance to the image without colour."""
    return blended(whole_grey(images), images, factors).floor()


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance to the smoothed image; the edge of one pixel stays."""
    if min(images.shape[-2:]) < 3:
        return images
    kernel = torch.ones(1, 1, 3, 3, device=images.device)
    kernel[..., 1, 1] = 5
    flat = images.flatten(0, 1)[:, None]
    smooth = images.clone()
    inner = (F.conv2d(flat, kernel) / 13 + 0.5).floor()
    smooth[..., 1:-1, 1:-1] = inner.reshape(*images.shape[:2], *inner.shape[-2:])
    return blended(smooth, images, factors).floor()


def whole_grey(images: Tensor) -> Tensor:
    """Brightness of each pixel as a whole number: (n, 1, height, width)."""
    if images.shape[1] != 3:
        return images[:, :1]
    weights = torch.tensor([19595, 38470, 7471], device=images.device)[:, None, None]
    return ((images.long() * weights).sum(1, keepdim=True) + 0x8000 >> 16).float()
