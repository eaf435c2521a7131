"""The loss of a model on images as a function of its trained parameters, with first and second derivatives."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from karat.analyses.geometry.trained import Trained
from karat.analyses.subject import Subject
from karat.errors import AnalysisError, HostError
from karat.models.observing import observed

MOST_IMAGES = 256
MOST_PIXELS = 2**19  # of all images together
AT_ONCE = 64  # images in a forward pass
GRAPH_BYTES = 16 * 2**20  # of what is kept for second derivatives


class Loss:
    """Mean cross-entropy on images, in nats, without weight decay, label smoothing or augmentation.

    Up to 256 of the images are used, fewer where they are large: as many as have 2^19 pixels together (256 of up to 45 x
    45, 10 of 224 x 224). They are spread evenly over those given.

    Args:
        subject: the model, images and their classes.

    Raises:
        AnalysisError: the classes are not known or do not fit the images, or nothing is trained.
    """

    def __init__(self, subject: Subject) -> None:
        self.model, self.trained = subject.model, Trained(subject.model)
        labels = subject.classes()
        if labels.shape != subject.images.shape[:1]:
            got, wanted = tuple(labels.shape), tuple(subject.images.shape[:1])
            raise AnalysisError(f"labels: must be {wanted}, one for each image, got {got}")
        total = len(subject.images)
        pixels = subject.images.shape[2] * subject.images.shape[3]
        self.count = min(total, MOST_IMAGES, max(1, MOST_PIXELS // pixels))
        chosen = torch.arange(self.count) * total // self.count
        self._images, self._labels = subject.images[chosen], labels[chosen].long()
        self.classes = self._check_classes()

    @torch.no_grad()
    def __call__(self, vector: Tensor) -> float:
        """The loss with these values (P,) of the trained parameters; NaN or infinite where it overflows."""
        parameters, total = self.trained.split(vector), 0.0
        for images, labels in self._batches(AT_ONCE):
            logits = self._logits(parameters, images)
            total += F.cross_entropy(logits.double(), labels, reduction="sum").item()
        return total / self.count

    @contextmanager
    def curvature(self, vector: Tensor) -> Iterator[Curvature]:
        """Products with the Hessian at these values of the trained parameters, within this context.

        Attention is computed by plain operations for the time, since fast kernels have no second derivative.

        Raises:
            AnalysisError: the model's attention cannot be computed so.
        """
        try:
            with observed(self.model, record=False):
                yield Curvature(self, vector)
        except HostError as error:
            raise AnalysisError(str(error)) from error

    def gradients(self, leaves: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, ...]]:
        """Gradients of the loss, with their graph, for one batch of this size after the other; they add up."""
        named = dict(zip(self.trained.parameters, leaves, strict=True))
        for images, labels in self._batches(size):
            logits = self._logits(named, images)
            loss = F.cross_entropy(logits, labels, reduction="sum") / self.count
            yield torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)

    def _logits(self, parameters: dict[str, Tensor], images: Tensor) -> Tensor:
        # Untied: otherwise torch leaves the values in an operator that blocks share.
        found: Tensor = functional_call(self.model, parameters, (images,), tie_weights=False)
        return found

    def first(self, count: int) -> Loss:
        """The same of the first images alone."""
        fewer = copy.copy(self)
        fewer._images, fewer._labels = self._images[:count], self._labels[:count]
        fewer.count = len(fewer._images)
        return fewer

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(torch.split(self._images, size), torch.split(self._labels, size), strict=True)

    @torch.no_grad()
    def _check_classes(self) -> int:
        classes = int(self.model(self._images[:1]).shape[-1])
        if self._labels.min() < 0 or self._labels.max() >= classes:
            raise AnalysisError(f"labels: must be classes from 0 to {classes - 1}")
        return classes


class Curvature:
    """Products of the Hessian H of the loss with vectors, exact up to rounding (double backward).

    Args:
        loss: the loss; the model is `observed`.
        vector: (P,), where the second derivatives are taken.
    """

    def __init__(self, loss: Loss, vector: Tensor) -> None:
        self._loss = loss
        parts = loss.trained.split(vector.detach().clone())
        self._leaves = [part.requires_grad_() for part in parts.values()]
        self._size = min(loss.count, max(1, GRAPH_BYTES // self._bytes_of_one()))
        self._kept = None
        if self._size == loss.count:  # one graph for all products
            self._kept = list(loss.gradients(self._leaves, self._size))

    @property
    def gradient(self) -> Tensor:
        """Of the loss: (P,)."""
        total = torch.zeros(len(self._loss.trained), dtype=self._leaves[0].dtype)
        for gradients in self._gradients():
            total += torch.cat([each.detach().flatten() for each in gradients])
        return total

    def times(self, direction: Tensor) -> Tensor:
        """H times a direction: (P,) to (P,)."""
        along = list(self._loss.trained.split(direction.to(self._leaves[0].dtype)).values())
        total = torch.zeros_like(direction, dtype=self._leaves[0].dtype)
        for gradients in self._gradients():
            product = torch.autograd.grad(
                gradients,
                self._leaves,
                along,
                retain_graph=self._kept is not None,
                materialize_grads=True,
            )
            total += torch.cat([each.flatten() for each in product])
        return total

    def _gradients(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(self._kept or self._loss.gradients(self._leaves, self._size))

    def _bytes_of_one(self) -> int:
        """Memory of what is kept of one image for the second derivative, without the parameters."""
        own = self._leaves[0].untyped_storage().data_ptr()  # all are views of one vector
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() != own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            kept = list(self._loss.first(1).gradients(self._leaves, 1))
        del kept  # until here, so that no address is used twice
        return max(1, sum(sizes.values()))
