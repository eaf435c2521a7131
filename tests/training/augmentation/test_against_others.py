"""Each function does to a batch what torchvision, Pillow and timm do to one image with the same parameters."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from karat.training.augmentation import rand_augment as ours
from karat.training.augmentation.affine import affine
from karat.training.augmentation.color_jitter import (
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    color_jitter,
)
from karat.training.augmentation.flip import flip
from karat.training.augmentation.padded_crop import padded_crop
from karat.training.augmentation.rand_augment import TONES, argument, matrices_of
from karat.training.augmentation.random_erasing import within
from karat.training.augmentation.resized_crop import resized_crop

FILL = (124, 116, 104)
TOLERANCE = 0.01  # of 255, from another order of additions in float32


@functools.cache
def images(count: int = 6) -> Tensor:
    """Images with smooth parts, edges, extremes and one that is all grey: whole numbers, float32."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 5, generator=generator) * 300 - 20
    found = torch.nn.functional.interpolate(coarse, (12, 15), mode="bilinear")
    found += torch.randn(found.shape, generator=generator) * 8
    found[-1] = 77
    return found.round().clamp(0, 255)


def pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).to(torch.uint8).numpy())


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def test_flip_is_torchvisions() -> None:
    flipped = torch.tensor([True, False, True, False, False, True])
    for found, image, is_flipped in zip(flip(images(), flipped), images(), flipped, strict=True):
        assert torch.equal(found, TF.horizontal_flip(image) if is_flipped else image)


def test_padded_crop_is_torchvisions() -> None:
    shifts = torch.tensor([[0, 0], [8, 8], [4, 4], [1, 7], [3, 0], [8, 2]])
    cut = padded_crop(images().to(torch.uint8), shifts, 4)
    for found, image, (top, left) in zip(cut, images(), shifts.tolist(), strict=True):
        assert torch.equal(found.float(), TF.crop(TF.pad(image, [4]), top, left, 12, 15))


def test_resized_crop_is_torchvisions() -> None:
    boxes = torch.tensor(
        [[0, 0, 12, 15], [3, 2, 5, 7], [11, 14, 1, 1], [0, 5, 12, 4], [6, 0, 6, 15], [2, 2, 8, 9]]
    )
    cut = resized_crop(images(), boxes)
    for found, image, box in zip(cut, images(), boxes.tolist(), strict=True):
        expected = TF.resized_crop(image, *box, [12, 15], InterpolationMode.BILINEAR)
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_colour_jitter_is_torchvisions_in_each_order() -> None:
    factors = torch.tensor([[0.6, 1.4, 1.2], [1.4, 0.7, 0.6], [1.0, 1.3, 0.8]] * 2)
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    change: dict[int, Callable[[Tensor, float], Tensor]] = {
        BRIGHTNESS: TF.adjust_brightness,
        CONTRAST: TF.adjust_contrast,
        SATURATION: TF.adjust_saturation,
    }
    jittered = color_jitter(images(), factors, orders)
    for place, found in enumerate(jittered):
        expected = images()[place] / 255
        for each in orders[place].tolist():
            expected = change[each](expected, factors[place, each].item())
        # torchvision has 0.2989 for the weight of red, Pillow 0.299.
        torch.testing.assert_close(found, expected * 255, atol=0.1, rtol=0)


def test_an_erased_rectangle_is_where_torchvision_erases() -> None:
    boxes = torch.tensor([[0, 0, 3, 4], [5, 6, 7, 9], [2, 2, 0, 0]])
    for inside, box in zip(within(boxes, 12, 15), boxes.tolist(), strict=True):
        expected = TF.erase(torch.zeros(1, 12, 15), *box, v=torch.ones(1))
        assert torch.equal(inside.float(), expected)


TIMM: dict[str, tuple[str, str]] = {  # without and with inc1
    "auto_contrast": ("AutoContrast", "AutoContrast"),
    "equalize": ("Equalize", "Equalize"),
    "invert": ("Invert", "Invert"),
    "posterize": ("Posterize", "PosterizeIncreasing"),
    "solarize": ("Solarize", "SolarizeIncreasing"),
    "solarize_add": ("SolarizeAdd", "SolarizeAdd"),
    "color": ("Color", "ColorIncreasing"),
    "contrast": ("Contrast", "ContrastIncreasing"),
    "brightness": ("Brightness", "BrightnessIncreasing"),
    "sharpness": ("Sharpness", "SharpnessIncreasing"),
    "rotate": ("Rotate", "Rotate"),
    "shear_x": ("ShearX", "ShearX"),
    "shear_y": ("ShearY", "ShearY"),
    "translate_x": ("TranslateXRel", "TranslateXRel"),
    "translate_y": ("TranslateYRel", "TranslateYRel"),
}


def timms(name: str, magnitude: float, sign: int) -> Callable[[Image.Image], Image.Image]:
    """timm's operation with a magnitude and a sign."""
    arguments = ()
    if (levels := auto_augment.LEVEL_TO_ARG[name]) is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(auto_augment.random, "random", lambda: 0.9 if sign < 0 else 0.1)
            arguments = levels(magnitude, {})
    operation = auto_augment.NAME_TO_OP[name]
    if operation is auto_augment.posterize and arguments == (0,):  # Pillow 12 refuses it
        return lambda image: Image.new("RGB", image.size)
    return lambda image: operation(
        image, *arguments, fillcolor=FILL, resample=Image.Resampling.BILINEAR
    )


def test_the_operations_are_those_of_timm() -> None:
    assert set(TIMM) == set(ours.OPERATIONS)
    for place, known in enumerate(
        (auto_augment._RAND_TRANSFORMS, auto_augment._RAND_INCREASING_TRANSFORMS)
    ):
        assert {names[place] for names in TIMM.values()} == set(known)


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("name", TIMM)
def test_rand_augment_is_timms(name: str, increasing: bool) -> None:
    magnitudes = torch.tensor([0.0, 2.5, 5.0, 7.3, 9.99, 10.0])
    for sign in (1, -1):
        signs = torch.full((6,), float(sign))
        values = argument(name, magnitudes, signs, increasing)
        if name in TONES:
            found = TONES[name](images(), values)
        else:
            fill = torch.tensor(FILL, dtype=torch.float32)
            found = affine(images(), matrices_of(name, values, 12, 15), fill)
        for place, magnitude in enumerate(magnitudes.tolist()):
            operation = timms(TIMM[name][increasing], magnitude, sign)
            expected = tensor(operation(pillow(images()[place])))
            differ = (found[place] - expected).abs()
            # Where a product is a whole number in float32 and not in Pillow's float64, or the other way.
            assert (differ > 1).float().mean() <= (0 if name in TONES else 0.02), magnitude
            assert (differ > 0).float().mean() < 0.05, magnitude
