"""A split whose images are changed on the way to the model: corrupted, or normalised as another data set is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from karat.datasets import Images, Preprocessing
from karat.datasets._corruptions import Corruption


class Shifted(TorchDataset[Any]):
    """The images of a split in their order, corrupted.

    Args:
        split: pairs (image, label), normalised as `steps` says.
        steps: the normalisation of the split.
        into: the normalisation that the model was trained with; that of the split where None.
        corruption: what is done to the images as they are stored; None leaves them as they are.
        strength: 1 to 5; without effect where there is no corruption.
    """

    def __init__(
        self,
        split: Images,
        steps: Preprocessing,
        *,
        into: Preprocessing | None = None,
        corruption: Corruption | None = None,
        strength: int = 1,
    ) -> None:
        self._split, self._corruption, self._strength = split, corruption, strength
        self._mean, self._std = _columns(steps)
        self._into_mean, self._into_std = _columns(into or steps)

    def __len__(self) -> int:
        return len(self._split)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        [found] = self.__getitems__([index])
        return found

    def __getitems__(self, numbers: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Several images at once, as torch's loader asks for a batch."""
        pairs = [self._split[number] for number in numbers]
        images_BCHW = torch.stack([image for image, _ in pairs])
        stored = images_BCHW * self._std + self._mean
        if self._corruption is not None:
            stored = self._corruption(stored.clamp(0, 1), self._strength, numbers)
        changed = (stored - self._into_mean) / self._into_std
        return [(image, int(label)) for image, (_, label) in zip(changed, pairs, strict=True)]


def _columns(steps: Preprocessing) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (steps.mean, steps.std))
    return mean, std
