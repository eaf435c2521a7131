"""Evaluation of a model on a split, and the record of a test evaluation, image by image."""

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from karat.attention.carried import weights_of
from karat.attention.kernels import _compiled
from karat.datasets import Images
from karat.errors import NonFiniteError
from karat.models.convert import kernels_of
from karat.system.environment import cpu_name
from karat.tested import Tested, packed, sha256_of_classes
from karat.training.config import EVAL_BATCH_SIZE
from karat.training.process_group import ProcessGroup

TOP = 5  # classes among which the right one counts as found, in a score beside accuracy
_DIGEST = 32  # bytes of the sha256 of one image


@dataclass(frozen=True, kw_only=True)
class Details:
    """What scores other than accuracy and loss need, image by image.

    Args:
        confidence: probability of the predicted class: float32 (n,).
        rank: number of classes with a higher logit than the right one: int64 (n,).
        top_margins: logit of the right class minus the `TOP`-th highest other one, or the last one: float32 (n,).
    """

    confidence: NDArray[np.float32]
    rank: NDArray[np.int64]
    top_margins: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A model's answers on a split of n images, those of all ranks.

    Args:
        loss: mean cross-entropy.
        predicted, labels: predicted and right class of each image: int64 (n,).
        margins: logit of the right class minus the highest other one: float32 (n,).
        pixels: sha256 of the sha256 of every image; empty if it was not asked for.
        details: None if they were not asked for.
    """

    loss: float
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    margins: NDArray[np.float32]
    pixels: str
    details: Details | None = None

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image was classified correctly: (n,)."""
        found: NDArray[np.bool_] = self.predicted == self.labels
        return found

    @property
    def accuracy(self) -> float:
        """The share of images that were classified correctly."""
        return float(np.count_nonzero(self.correct) / len(self.labels))

    def metrics(self, name: str) -> dict[str, float]:
        """Loss and accuracy as metrics of the split `name`."""
        return {f"{name}_loss": self.loss, f"{name}_accuracy": self.accuracy}


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    split: Images,
    group: ProcessGroup,
    *,
    micro_batches: int = 1,
    workers: int = 0,
    hash_images: bool = False,
    details: bool = False,
) -> Evaluated:
    """A model's answers on a split; each rank evaluates its shard.

    Args:
        model: on the group's device; is left in the mode of evaluation.
        split: pairs (image, label).
        group: the process group.
        micro_batches: a batch is smaller by this factor.
        workers: data loading processes; 0 loads in this process.
        hash_images: whether to compute `Evaluated.pixels`.
        details: whether to compute `Evaluated.details`.
    """
    model.eval()
    device = group.device()
    own = group.shard(range(len(split)))  # type: ignore[arg-type]
    size = max(1, EVAL_BATCH_SIZE // micro_batches)
    loss, digests = 0.0, bytearray()
    parts: list[tuple[Tensor, ...]] = []
    for images, labels in DataLoader(split, batch_size=size, sampler=own, num_workers=workers):
        logits, targets = model(images.to(device)), labels.to(device)
        loss += F.cross_entropy(logits, targets, reduction="sum").item()
        more = _details(logits, targets) if details else ()
        parts.append((logits.argmax(-1).cpu(), labels, _margins(logits, targets).cpu(), *more))
        if hash_images:
            digests += b"".join(hashlib.sha256(each.numpy()).digest() for each in images)
    columns = tuple(torch.cat(each).numpy() for each in zip(*parts, strict=True))
    found = group.all_gather((loss, columns, bytes(digests)))
    predicted, targets_, margins, *rest = (
        np.concatenate([part[1][column] for part in found if part[1]])
        for column in range(6 if details else 3)
    )
    total = sum(each[0] for each in found)
    return Evaluated(
        loss=total / len(targets_),
        predicted=predicted,
        labels=targets_,
        margins=margins,
        pixels=hashlib.sha256(b"".join(each[2] for each in found)).hexdigest() * hash_images,
        details=Details(confidence=rest[0], rank=rest[1], top_margins=rest[2]) if details else None,
    )


def record(
    evaluated: Evaluated, weights: Mapping[str, Tensor], epoch: int, where: Mapping[str, Any]
) -> Tested:
    """The record of a test evaluation.

    Args:
        evaluated: the answers on the test split, with `hash_images`.
        weights: the state of the model that gave them.
        epoch: epochs done when the weights had these values.
        where: of `conditions`.
    """
    return Tested(
        epoch=epoch,
        images=len(evaluated.labels),
        correct=packed(evaluated.correct),
        predictions=sha256_of_classes(evaluated.predicted),
        labels=sha256_of_classes(evaluated.labels),
        pixels=evaluated.pixels,
        weights=sha256_of_weights(weights),
        where=where,
    )


def conditions(model: nn.Module, group: ProcessGroup, micro_batches: int = 1) -> dict[str, Any]:
    """Everything beside weights and images that may change the last bit of a result.

    Sums of floating-point numbers depend on their order, and so on the version of torch, the
    processor's vector instructions, the number of threads, and the size of a batch.
    """
    device = group.device()
    on_cpu = device.type == "cpu"
    return {
        "torch": str(torch.__version__),
        "device": "cpu" if on_cpu else torch.cuda.get_device_name(device),
        "cpu": cpu_name(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        # Asked last: the answer may take a compiler 15 s.
        "compiled": on_cpu and bool(kernels_of(model)) and _compiled.is_available(),
        "threads": torch.get_num_threads(),
        "processes": group.world_size,
        "micro_batches": micro_batches,
    }


def check_finite(metrics: Mapping[str, float], epoch: int) -> None:
    """Refuse metrics of an epoch that are NaN or infinite.

    Raises:
        NonFiniteError: names the first of them.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise NonFiniteError(name, value, epoch)


def copy_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model as they are now, on the CPU; training goes on in the same tensors."""
    return {name: value.detach().cpu().clone() for name, value in state.items()}


@contextlib.contextmanager
def holding(
    model: nn.Module, weights: Mapping[str, Tensor] | None
) -> Iterator[Mapping[str, Tensor]]:
    """Give a model other weights for a while; None leaves it its own. Yields those that it has."""
    if weights is None:
        yield model.state_dict()
        return
    own = copy_of(model.state_dict())
    model.load_state_dict(weights)
    try:
        yield model.state_dict()
    finally:
        model.load_state_dict(own)


def sha256_of_weights(weights: Mapping[str, Tensor]) -> str:
    """The sha256 of names, types, shapes and values of a model's weights.

    Not of the file's format, nor of the settings that travel with weights: older weights have none.
    """
    total = hashlib.sha256()
    for name, value in sorted(weights_of(weights).items()):
        total.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        # As bytes: numpy does not know all types of torch, such as bfloat16.
        total.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return total.hexdigest()


def _details(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The columns of `Details`, for logits (n, classes): three of (n,), on the CPU."""
    right = logits.gather(-1, labels[:, None])
    rank = (logits > right).sum(-1)
    others = logits.scatter(-1, labels[:, None], float("-inf"))
    last = others.topk(min(TOP, logits.shape[-1] - 1)).values[:, -1]
    near = (right[:, 0] - last).float()
    return logits.float().softmax(-1).amax(-1).cpu(), rank.cpu(), near.cpu()


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the right class minus the highest other one, for logits (n, classes): (n,)."""
    right = logits.gather(-1, labels[:, None])
    others = logits.scatter(-1, labels[:, None], float("-inf"))
    return (right[:, 0] - others.amax(-1)).float()
