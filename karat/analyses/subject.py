"""What an analysis looks at: a trained model, images, and the weights on the way to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from karat.errors import AnalysisError


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The weights of a model at one moment of its training.

    Args:
        epoch: epochs done; 0 is the start.
        read: reads the state dict; called when it is needed, and may raise a `CheckpointError`.
    """

    epoch: int
    read: Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained model and the images with which it is looked at.

    Args:
        model: in eval mode, on the CPU, in float32. An analysis leaves it as it found it.
        images: (I, C, H, W), as the model takes them.
        labels: (I,), their classes; None where they are not known.
        path: weights over the training, from the start to the end; empty where only the last are known.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor | None = None
    path: Sequence[Snapshot] = ()

    def __post_init__(self) -> None:
        self.model.eval()
        if self.images.dim() != 4 or not len(self.images):
            shape = tuple(self.images.shape)
            raise AnalysisError(f"images: must be (images, channels, height, width), got {shape}")

    def classes(self) -> Tensor:
        """The labels.

        Raises:
            AnalysisError: they are not known.
        """
        if self.labels is None:
            raise AnalysisError("the classes of the images are needed, and not known")
        return self.labels

    def batches(self, size: int = 64) -> Sequence[Tensor]:
        """The images in parts of at most this many."""
        return torch.split(self.images, size)
