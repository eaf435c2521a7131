"""The gradients of a batch, accumulated over the parts in which it goes through the model."""

import torch
from torch import Tensor
from torch.nn import functional as F

from karat.training.process_group import ProcessGroup, gradient_sync
from karat.training.steps.forward import StepForward


def accumulate(
    forward: StepForward,
    images: Tensor,
    labels: Tensor,
    *,
    parts: int,
    batch_size: int,
    label_smoothing: float,
    group: ProcessGroup,
) -> Tensor:
    """Add the gradients of this rank's shard of a batch; returns its part of the mean loss.

    Args:
        forward: the model as a step calls it.
        images, labels: the shard, on the device; labels are classes (n,) or distributions (n, classes).
        parts: in which the shard goes through the model.
        batch_size: images of the whole batch, on all ranks.
        label_smoothing: share of each label that is spread over all classes.
        group: the ranks.
    """
    total = torch.zeros((), device=images.device)
    pieces = list(zip(images.chunk(parts), labels.chunk(parts), strict=True))
    for number, (inputs, targets) in enumerate(pieces, start=1):
        with gradient_sync(forward.model, is_last=number == len(pieces)):
            loss = F.cross_entropy(forward(inputs), targets, label_smoothing=label_smoothing)
            # Weighted by size: shards and micro-batches may differ by one image.
            loss = loss * (len(targets) / batch_size)
            # DistributedDataParallel averages over the ranks; the weighted losses need a sum.
            (loss * group.world_size).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total
