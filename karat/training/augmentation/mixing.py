"""Mixup and cutmix: images that are mixed with another one of the batch, and labels that are mixed likewise.

The partner of the image at a place of a batch is the one at the same place from the end, as in timm's mode `elem`;
weights and rectangles are drawn for each image.

Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018; Yun et al., "CutMix", ICCV 2019; timm's
`Mixup`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from karat.training.augmentation.draws import Draws
from karat.training.augmentation.random_erasing import within


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How images are mixed.

    Args:
        mixup, cutmix: parameters of the Beta distributions, 0 for none; one of them is above 0.
        classes: number of classes.
    """

    mixup: float
    cutmix: float
    classes: int

    def weights_and_boxes(self, draws: Draws, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Weight of each image, float32 (n,), and what is replaced by the partner's, int64 (n, 4).

        Boxes are top, left, height and width, of height 0 for mixup; the weight of an image in cutmix is the share
        of its pixels that stay.
        """
        numbers = draws.uniform("mixing", 4)
        is_cut = torch.zeros(len(draws), dtype=torch.bool)
        if self.cutmix:
            is_cut = numbers[:, 0] < 0.5 if self.mixup else ~is_cut
        weights = torch.where(
            is_cut, _beta(self.cutmix, numbers[:, 1]), _beta(self.mixup, numbers[:, 1])
        )
        boxes = _cut_boxes(weights, numbers[:, 2:], height, width) * is_cut[:, None]
        share_left = 1 - boxes[:, 2] * boxes[:, 3] / (height * width)
        return torch.where(is_cut, share_left, weights), boxes

    def mix(self, images: Tensor, others: Tensor, weights: Tensor, boxes: Tensor) -> Tensor:
        """Mix normalised images (n, channels, height, width) with their partners."""
        boxes = boxes.to(images.device)
        is_cut = (boxes[:, 2] > 0)[:, None, None, None]
        replaced = within(boxes, *images.shape[-2:])
        shares = weights.to(images.device)[:, None, None, None]
        added = others + shares * (images - others)
        return torch.where(is_cut, torch.where(replaced, others, images), added)

    def targets(self, labels: Tensor, others: Tensor, weights: Tensor) -> Tensor:
        """Distributions over the classes, float32 (n, classes), of two labels for each image (n,).

        Smoothing of labels comes after it: `torch.nn.functional.cross_entropy` does both alike.
        """
        shares = weights.to(labels.device)[:, None]
        return shares * self._one_hot(labels) + (1 - shares) * self._one_hot(others)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, self.classes).float()


def _beta(parameter: float, numbers: Tensor) -> Tensor:
    """Quantiles of the symmetric Beta distribution: float32 (n,)."""
    from scipy.special import betaincinv  # takes a while to load

    if not parameter:
        return torch.ones_like(numbers)
    return torch.from_numpy(betaincinv(parameter, parameter, numbers.double().numpy())).float()


def _cut_boxes(weights: Tensor, centres: Tensor, height: int, width: int) -> Tensor:
    """Rectangles with a share of 1 - weight of the image, where they are not cut off at its edge."""
    ratios = (1 - weights).clamp(min=0).sqrt()
    edges = []
    for share, size in ((centres[:, 0], height), (centres[:, 1], width)):
        half = ((ratios * size).floor() / 2).floor()
        centre = (share * size).floor()
        start = (centre - half).clamp(0, size)
        edges.append((start, (centre + half).clamp(0, size) - start))
    (tops, tall), (lefts, wide) = edges
    return torch.stack([tops, lefts, tall, wide], 1).long()
