"""The settings of augmentation: fields of `karat.training.TrainingConfig`, so that each is a factor or tuned.

Knows neither torch nor images, since every command that reads a space needs it.
"""

import re
from dataclasses import dataclass
from typing import Self

from karat.errors import SettingError
from karat.settings import at_least, at_most

NONE = "none"
PIXEL_SETTINGS = ("random_resized_crop", "padded_crop", "flip", "color_jitter", "rand_augment")
SETTINGS = (*PIXEL_SETTINGS, "random_erasing", "mixup", "cutmix")
MIXING = "mixing"
MAX_LAYERS = 20
_PART = re.compile(r"(mstd|mmax|inc|m|n|p)(\d+(?:\.\d+)?|\.\d+)")
_EXAMPLE = "expected timm's notation, as in rand-m9-n2-mstd0.5-inc1, or none"


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What happens to training images; with the defaults, nothing. Validation and test images are never changed.

    Args:
        random_resized_crop: a random part of the image, of at least this share of its area and an aspect ratio
            of 3/4 to 4/3, is scaled to the model's size; at most 1, 0 for none. 0.08 is usual for ImageNet.
        padded_crop: the image is padded with this many black pixels on each side, then a random part of its
            former size is kept; at least 0. 4 is usual for CIFAR.
        flip: probability of a horizontal flip, 0 to 1.
        rand_augment: RandAugment in timm's notation, as in `rand-m9-n2-mstd0.5-inc1`, or `none`: magnitude m
            (10), number of operations n (2), probability of each p (0.5), standard deviation of the
            magnitude mstd (0), its limit mmax (10), and whether all grow stronger with it, inc (0).
        color_jitter: brightness, contrast and saturation change by factors between 1 - x and 1 + x, in random
            order; 0 to 1.
        random_erasing: probability that a rectangle of 2 % to a third of the image is replaced by noise, 0 to 1.
        mixup: parameter of the Beta distribution of the weights of two images that are added, 0 for none.
            With `cutmix` too, each image gets the one or the other with probability 1/2.
        cutmix: parameter of the Beta distribution of the share of an image that is kept, where a rectangle of another image
            is put into it, 0 for none.
    """

    random_resized_crop: float = 0.0
    padded_crop: int = 0
    flip: float = 0.0
    rand_augment: str = NONE
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for key in ("random_resized_crop", "flip", "color_jitter", "random_erasing"):
            at_least(key, getattr(self, key), 0)
            at_most(key, getattr(self, key), 1)
        at_least("padded_crop", self.padded_crop, 0)
        at_most("padded_crop", self.padded_crop, 1024)
        for key in ("mixup", "cutmix"):
            at_least(key, getattr(self, key), 0)
            at_most(key, getattr(self, key), 100)
        RandAugmentStrength.read(self.rand_augment)

    @property
    def changes_images(self) -> bool:
        """Whether images are changed one by one."""
        return self.needs_pixels or self.random_erasing > 0

    @property
    def needs_pixels(self) -> bool:
        """Whether an operation works on pixels, so that the data's normalisation must be known."""
        return any(getattr(self, key) not in (0, NONE) for key in PIXEL_SETTINGS)

    @property
    def mixes_images(self) -> bool:
        """Whether images are mixed with others, so that a label is a distribution over the classes."""
        return self.mixup > 0 or self.cutmix > 0

    def work(self) -> dict[str, float]:
        """What is done to the images of a step, by setting, and how many times to an image on average.

        The time that it takes depends on nothing else. Most settings compute all images, whichever are changed, and so
        count 1. Mixup and cutmix are one operation, `MIXING`.
        """
        for_all = ("random_resized_crop", "padded_crop", "flip", "color_jitter")
        found = {key: 1.0 for key in for_all if getattr(self, key)}
        if (strength := RandAugmentStrength.read(self.rand_augment)) is not None:
            found["rand_augment"] = strength.layers * strength.probability
        if self.random_erasing:
            found["random_erasing"] = self.random_erasing
        return found | ({MIXING: 1.0} if self.mixes_images else {})


@dataclass(frozen=True, kw_only=True)
class RandAugmentStrength:
    """What timm's notation says.

    Source: `rand_augment_transform` of timm 1.0 (timm/data/auto_augment.py); its sets of operations (`t`) are not
    supported.

    Args:
        magnitude: mean strength; 10 is the end of the usual range.
        layers: operations for each image, drawn with replacement.
        probability: with which each of them is applied.
        spread: standard deviation of the magnitude; uniform from 0 to `magnitude` if above 100.
        limit: magnitudes above it become it.
        increasing: whether posterize, solarize and the four enhancements grow stronger with the magnitude.
    """

    magnitude: float = 10.0
    layers: int = 2
    probability: float = 0.5
    spread: float = 0.0
    limit: float = 10.0
    increasing: bool = False

    @classmethod
    def read(cls, text: str) -> Self | None:
        """From timm's notation; None for `none`.

        Raises:
            SettingError: it is not timm's notation.
        """
        if text == NONE:
            return None
        first, *parts = text.split("-")
        found = [_PART.fullmatch(part) for part in parts]
        if first != "rand" or not all(found):
            raise SettingError("rand_augment", f"is not understood; {_EXAMPLE}", text)
        given = {match[1]: float(match[2]) for match in found if match}
        if len(given) < len(parts):
            raise SettingError("rand_augment", f"says something twice; {_EXAMPLE}", text)
        layers = given.get("n", 2.0)
        if not (layers.is_integer() and 1 <= layers <= MAX_LAYERS):
            rule = f"must have a whole number n, from 1 to {MAX_LAYERS}"
            raise SettingError("rand_augment", rule, text)
        if given.get("p", 0.5) > 1 or given.get("inc", 0.0) not in (0.0, 1.0):
            rule = "must have p from 0 to 1, and inc0 or inc1"
            raise SettingError("rand_augment", rule, text)
        return cls(
            magnitude=given.get("m", 10.0),
            layers=int(layers),
            probability=given.get("p", 0.5),
            spread=given.get("mstd", 0.0),
            limit=given.get("mmax", 10.0) or 10.0,
            increasing=bool(given.get("inc", 0.0)),
        )
