"""A horizontal flip."""

import torch
from torch import Tensor

from karat.training.augmentation.draws import Draws


def flips_of(draws: Draws, probability: float) -> Tensor:
    """Which images are flipped: bool (n,)."""
    return draws.one("flip") < probability


def flip(images: Tensor, flipped: Tensor) -> Tensor:
    """Mirror the images (n, channels, height, width) for which `flipped` is True."""
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)
