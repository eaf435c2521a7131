"""Scores and weights of all blocks of a model on images, batch by batch."""

from collections.abc import Iterator

import torch

from karat.analyses.subject import Subject
from karat.errors import AnalysisError, HostError
from karat.models.observing import Seen, observed


@torch.no_grad()
def seen_by_batch(subject: Subject, size: int = 64) -> Iterator[list[Seen]]:
    """What every attention module formed, for one batch of the images after the other.

    Raises:
        AnalysisError: the model's attention cannot be looked into.
    """
    try:
        with observed(subject.model) as seen:
            for images in subject.batches(size):
                seen.clear()
                subject.model(images)
                yield list(seen)
    except HostError as error:
        raise AnalysisError(str(error)) from error
