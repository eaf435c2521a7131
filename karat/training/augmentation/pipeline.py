"""All augmentation of a trial, in the order of timm: crop, flip, RandAugment, colour, normalisation, erasing."""

import torch
from torch import Tensor

from karat.training.augmentation.color_jitter import color_jitter, jitter_of
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.flip import flip, flips_of
from karat.training.augmentation.padded_crop import padded_crop, shifts_of
from karat.training.augmentation.rand_augment import layers_of, rand_augment
from karat.training.augmentation.random_erasing import erased_boxes, random_erasing
from karat.training.augmentation.resized_crop import crop_boxes, resized_crop
from karat.training.augmentation.settings import AugmentationConfig, RandAugmentStrength
from karat.training.loading.pixels import Pixels


class Augmentation:
    """What happens to each training image before it is mixed with others.

    Args:
        config: its settings.
        pixels: how pixels become the model's input; None if that is not known, so that only random erasing can be
            set.
        is_cropped: whether images come as random crops already, from files of a larger size.
    """

    def __init__(
        self, config: AugmentationConfig, pixels: Pixels | None, is_cropped: bool = False
    ) -> None:
        self.config, self.pixels, self._is_cropped = config, pixels, is_cropped
        self._strength = RandAugmentStrength.read(config.rand_augment)

    @torch.no_grad()
    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Images as the model gets them: float32 (n, channels, height, width).

        Args:
            images: on the trial's device; uint8 pixels, or float32 and normalised.
            draws: of these images.
        """
        if self.pixels is not None and self.config.needs_pixels:
            images = self.pixels.to_input(self._changed(self.pixels.of_input(images), draws))
        elif images.dtype == torch.uint8:
            assert self.pixels is not None
            images = self.pixels.to_input(images)
        return self._erased(images, draws)

    def _changed(self, images: Tensor, draws: Draws) -> Tensor:
        config, (height, width) = self.config, images.shape[-2:]
        if config.random_resized_crop and not self._is_cropped:
            heights, widths = (torch.full((len(images),), float(size)) for size in (height, width))
            boxes = crop_boxes(draws, heights, widths, config.random_resized_crop)
            images = resized_crop(images, boxes)
        if config.padded_crop:
            images = padded_crop(images, shifts_of(draws, config.padded_crop), config.padded_crop)
        if config.flip:
            images = flip(images, flips_of(draws, config.flip))
        if self._strength is not None:
            assert self.pixels is not None
            images = images.round()
            for layer in layers_of(draws, self._strength):
                images = rand_augment(images, layer, self.pixels.mean, self._strength.increasing)
        if config.color_jitter:
            images = color_jitter(images, *jitter_of(draws, config.color_jitter))
        return images

    def _erased(self, images: Tensor, draws: Draws) -> Tensor:
        if not self.config.random_erasing:
            return images
        boxes = erased_boxes(draws, self.config.random_erasing, *images.shape[-2:])
        return random_erasing(images, boxes, draws)
