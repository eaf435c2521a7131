"""Shifted test images: corruptions in five strengths, computed from the clean images of a test split.

Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and
perturbations" (arXiv 1903.12261). The strengths are those of their CIFAR-10-C, made for images of 32 x 32 pixels
(`ImageNet-C/create_c/make_cifar_c.py` of github.com/hendrycks/robustness). The implementations are karat's own:
what is drawn follows from the number of the image, the corruption and the strength alone, so that all arms and all
seeds see the same pixels, on every machine and in every order.
"""

import abc
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from karat.catalog import Catalog
from karat.errors import SettingError, nearest
from karat.seeds import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["CORRUPTIONS", "EDGE", "STRENGTHS", "Corruption", "check_names"]

STRENGTHS = (1, 2, 3, 4, 5)
EDGE = 32  # pixels of the images that the strengths were made for


class Corruption(abc.ABC):
    """One kind of corruption.

    `apply` is called with images as they are stored, pixels from 0 to 1, and must depend on nothing but its
    arguments. What it returns is cut off at 0 and 1 and rounded to multiples of 1/255, as images on disk are.
    `strengths` are the parameters of the strengths 1 to 5, from the mildest.
    """

    strengths: ClassVar[tuple[float, ...]]

    @abc.abstractmethod
    def apply(
        self, images_BCHW: "Tensor", strength: float, draws: "Sequence[torch.Generator]"
    ) -> "Tensor":
        """The corrupted images, (B, C, H, W).

        Args:
            images_BCHW: float32, pixels from 0 to 1; C is 1 or 3.
            strength: one of `strengths`.
            draws: a random generator for each image.
        """

    def __call__(self, images_BCHW: "Tensor", strength: int, numbers: Sequence[int]) -> "Tensor":
        """Corrupt images.

        Args:
            images_BCHW: float32, pixels from 0 to 1.
            strength: 1 to 5.
            numbers: of the images in their split.
        """
        import torch

        name = type(self).__name__
        draws = [
            torch.Generator().manual_seed(derive("corruption", name, strength, number))
            for number in numbers
        ]
        changed = self.apply(images_BCHW, self.strengths[strength - 1], draws)
        return (255 * changed.clamp(0, 1)).round() / 255


CORRUPTIONS = Catalog(Corruption, "data.corruptions")  # type: ignore[type-abstract]


def check_names(key: str, names: Iterable[str]) -> None:
    """Refuse unknown corruptions, and one that is named twice.

    Raises:
        SettingError: says which, and what is known.
    """
    seen: set[str] = set()
    for name in names:
        if name not in CORRUPTIONS:
            raise SettingError(key, f"unknown corruption. {nearest(name, CORRUPTIONS)}", name)
        if name in seen:
            raise SettingError(key, f"names {name} twice", list(names))
        seen.add(name)
