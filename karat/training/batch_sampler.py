"""The images that one rank of a trial sees: its shard of every batch, in the order of all."""

from collections.abc import Iterator

import torch
from torch.utils.data import BatchSampler, RandomSampler, Sampler

from karat.datasets import Images
from karat.training.process_group import ProcessGroup


class BatchParts(Sampler[list[int]]):
    """The shard of one rank of each batch in a random order; the last, smaller batch is dropped.

    The order is that of `DataLoader(shuffle=True)` with the same generator, for any world size.

    With `with_partners` the partners of the rank's images follow them: the image at the same place from the end of
    the whole batch for each.
    """

    def __init__(
        self,
        data: Images,
        batch_size: int,
        generator: torch.Generator,
        group: ProcessGroup,
        with_partners: bool = False,
    ) -> None:
        order = RandomSampler(data, generator=generator)  # type: ignore[arg-type]
        self._batches = BatchSampler(order, batch_size, drop_last=True)
        self._group, self._with_partners = group, with_partners

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            own = self._group.shard(range(len(batch)))
            partners = batch[::-1][own.start : own.stop] if self._with_partners else []
            yield batch[own.start : own.stop] + partners
