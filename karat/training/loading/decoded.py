"""A split that is decoded in each epoch: of a data set that does not fit, or whose images are no bytes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, default_collate
from torchvision.transforms.v2 import functional as F

from karat.datasets import Images
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.resized_crop import crop_boxes

Raw = tuple[Tensor, Tensor, Tensor]


class Indexed(Dataset[Any]):
    """A split that gives whole batches: images, labels, and the index of each image, int64 (n,).

    Images are uint8 where the split has bytes, else float32 as the model gets them.
    """

    def __init__(self, split: Images) -> None:
        self._split: Any = split

    def __getitem__(self, index: int) -> Raw:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Raw:
        """As torch's DataLoader asks for a batch."""
        places = torch.tensor(indices)
        if hasattr(self._split, "raw"):
            return (*self._split.raw(places), places)
        if hasattr(self._split, "__getitems__"):
            items = self._split.__getitems__(list(indices))
        else:
            items = [self._split[index] for index in indices]
        images, labels = default_collate(items)
        return images, labels, places


class CroppedFiles(Indexed):
    """Random crops of image files, each cut out of the whole image before it is scaled.

    Args:
        split: part of a data set of torchvision's `DatasetFolder`.
        size: edge of the crops after scaling, in pixels.
        least: smallest share of the area of the image.
        seed, epoch: of `karat.training.augmentation.Draws`.
    """

    def __init__(self, split: Images, size: int, least: float, seed: int, epoch: int) -> None:
        super().__init__(split)
        self._size, self._least, self._seed, self._epoch = size, least, seed, epoch

    @staticmethod
    def can_read(split: Images) -> bool:
        """Whether a split has files that can be cropped."""
        return isinstance(split, Subset) and all(
            hasattr(split.dataset, name) for name in ("samples", "loader")
        )

    def __getitems__(self, indices: Sequence[int]) -> Raw:
        """Images as uint8 (n, channels, height, width), with the channels last in memory."""
        files = self._split.dataset
        found = [files.samples[self._split.indices[index]] for index in indices]
        images = [F.pil_to_tensor(files.loader(path)) for path, _ in found]
        places = torch.tensor(indices)
        heights, widths = torch.tensor([each.shape[-2:] for each in images]).float().T
        boxes = crop_boxes(Draws(self._seed, self._epoch, places), heights, widths, self._least)
        crops = [
            F.resized_crop(image, *box, [self._size, self._size], antialias=True).permute(1, 2, 0)
            for image, box in zip(images, boxes.tolist(), strict=True)
        ]
        labels = torch.tensor([label for _, label in found])
        return torch.stack(crops).permute(0, 3, 1, 2), labels, places
