"""Which images a process of a trial sees: its part of every batch, in the order of the whole."""

from collections.abc import Iterator

import torch
from torch.utils.data import BatchSampler, RandomSampler, Sampler

from karat.datasets import Images
from karat.training.process_group import ProcessGroup


class BatchParts(Sampler[list[int]]):
    """The part of one process of each batch of a random order; the last, smaller batch is left out.

    The order is that of `DataLoader(shuffle=True)` with the same generator, whatever the group.
    """

    def __init__(
        self, data: Images, batch_size: int, generator: torch.Generator, group: ProcessGroup
    ) -> None:
        order = RandomSampler(data, generator=generator)  # type: ignore[arg-type]
        self._batches = BatchSampler(order, batch_size, drop_last=True)
        self._group = group

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            own = self._group.shard(range(len(batch)))
            yield batch[own.start : own.stop]
