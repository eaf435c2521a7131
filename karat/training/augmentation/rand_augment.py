"""RandAugment as timm has it: some operations for each image, drawn from fifteen, with one strength for all.

All images that drew an operation go through it together.

Source: Cubuk et al., "RandAugment", NeurIPS 2020; timm 1.0, timm/data/auto_augment.py. Interpolation is bilinear
everywhere, where timm draws between bilinear and bicubic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from karat.training.augmentation import tones
from karat.training.augmentation.affine import affine, changed_identity, rotations
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.settings import RandAugmentStrength

_FULL = 10.0  # the magnitude at which an operation is at the end of its range
_DEGREES, _SHEAR, _SHIFT = 30.0, 0.3, 0.45
UNIFORM_ABOVE = 100  # a spread above it stands for uniform magnitudes

Tone = Callable[[Tensor, Tensor], Tensor]
TONES: Mapping[str, Tone] = {
    "auto_contrast": lambda images, _: tones.auto_contrast(images),
    "equalize": lambda images, _: tones.equalize(images),
    "invert": lambda images, _: tones.invert(images),
    "posterize": tones.posterize,
    "solarize": tones.solarize,
    "solarize_add": tones.solarize_add,
    "color": tones.color,
    "contrast": tones.contrast,
    "brightness": tones.brightness,
    "sharpness": tones.sharpness,
}
SHAPES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
OPERATIONS = (*TONES, *SHAPES)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer does to each of n images.

    Args:
        operations: place in `OPERATIONS`, -1 for none: int64 (n,).
        magnitudes: from 0 to the limit, float32 (n,).
        signs: 1 or -1, for operations with a direction, float32 (n,).
    """

    operations: Tensor
    magnitudes: Tensor
    signs: Tensor


def layers_of(draws: Draws, strength: RandAugmentStrength) -> list[Layer]:
    """The layers of some images."""
    numbers = draws.uniform("rand augment", 4 * strength.layers)
    normal = draws.normal("rand augment magnitude", strength.layers)
    found = []
    for place in range(strength.layers):
        kind, applied, sign, level = numbers[:, 4 * place : 4 * place + 4].T
        magnitudes = strength.magnitude + strength.spread * normal[:, place]
        if strength.spread > UNIFORM_ABOVE:
            magnitudes = strength.magnitude * level
        operations = (kind * len(OPERATIONS)).long()
        found.append(
            Layer(
                operations=torch.where(applied < strength.probability, operations, -1),
                magnitudes=magnitudes.clamp(0, strength.limit),
                signs=torch.where(sign < 0.5, 1.0, -1.0),
            )
        )
    return found


def rand_augment(images: Tensor, layer: Layer, fill: Tensor, increasing: bool) -> Tensor:
    """Apply one layer.

    Args:
        images: whole numbers from 0 to 255 as float32 (n, channels, height, width).
        layer: what is done.
        fill: value of each channel where nothing is in a moved image, float32 (channels,).
        increasing: as in `RandAugmentStrength`.
    """
    images = images.clone()
    for place, name in enumerate(TONES):
        chosen = (layer.operations == place).nonzero()[:, 0]
        if len(chosen):
            rows = chosen.to(images.device)
            values = argument(name, layer.magnitudes[chosen], layer.signs[chosen], increasing)
            images[rows] = TONES[name](images[rows], values)
    chosen = (layer.operations >= len(TONES)).nonzero()[:, 0]
    if len(chosen):
        rows = chosen.to(images.device)
        images[rows] = affine(images[rows], _matrices(layer, chosen, *images.shape[-2:]), fill)
    return images


def argument(name: str, magnitudes: Tensor, signs: Tensor, increasing: bool) -> Tensor:
    """The parameter of an operation: bits, threshold, factor, degrees, or share of the edge, (n,)."""
    levels = magnitudes / _FULL
    if name == "posterize":
        bits = (levels * 4).floor()
        return 4 - bits if increasing else bits
    if name == "solarize":
        least = (levels * 256).floor().clamp(max=256)
        return 256 - least if increasing else least
    if name == "solarize_add":
        return (levels * 110).floor().clamp(max=128)
    if name in ("color", "contrast", "brightness", "sharpness"):
        return (1 + signs * levels * 0.9).clamp(min=0.1) if increasing else levels * 1.8 + 0.1
    most = {"rotate": _DEGREES, "shear_x": _SHEAR, "shear_y": _SHEAR}.get(name, _SHIFT)
    return signs * levels * most


def _matrices(layer: Layer, chosen: Tensor, height: int, width: int) -> Tensor:
    """Of the geometric operations of the chosen images: (m, 2, 3)."""
    matrices = torch.empty(len(chosen), 2, 3)
    for place, name in enumerate(SHAPES, start=len(TONES)):
        of = layer.operations[chosen] == place
        values = argument(name, layer.magnitudes[chosen[of]], layer.signs[chosen[of]], True)
        matrices[of] = matrices_of(name, values, height, width)
    return matrices


def matrices_of(name: str, values: Tensor, height: int, width: int) -> Tensor:
    """Of one geometric operation, with degrees, shears, or shares of the edge (n,): (n, 2, 3)."""
    if name == "rotate":
        return rotations(values, height, width)
    if name == "shear_x":
        return changed_identity(values, 0, 1)
    if name == "shear_y":
        return changed_identity(values, 1, 0)
    if name == "translate_x":
        return changed_identity(values * width, 0, 2)
    return changed_identity(values * height, 1, 2)
