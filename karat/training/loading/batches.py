"""The training batches of a trial: read, moved to its device, augmented and mixed."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from karat.datasets import Images
from karat.seeds import derive
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.mixing import Mixing
from karat.training.augmentation.pipeline import Augmentation
from karat.training.batch_sampler import BatchParts
from karat.training.config import TrialConfig
from karat.training.loading.decoded import CroppedFiles, Indexed, Raw
from karat.training.loading.pixels import Pixels
from karat.training.process_group import ProcessGroup


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long the steps of an epoch took, without the first.

    Args:
        steps: their number.
        took_s: seconds from asking for a batch to asking for the next one, of all steps.
        waited_s: of them, until the batch was there: read, moved to the device and augmented; what a GPU computes
            for that counts as part of the step.
    """

    steps: int = 0
    took_s: float = 0.0
    waited_s: float = 0.0

    def after(self, took_s: float, waited_s: float) -> "Timing":
        """With one more step."""
        return Timing(
            steps=self.steps + 1, took_s=self.took_s + took_s, waited_s=self.waited_s + waited_s
        )

    def described(self) -> dict[str, float]:
        """Mean seconds of a step, `step_s`, and of waiting for its batch, `data_s`; empty without a step."""
        if not self.steps:
            return {}
        each = {"step_s": self.took_s, "data_s": self.waited_s}
        return {name: round(seconds / self.steps, 6) for name, seconds in each.items()}


class TrainingBatches:
    """Batches of the shard of one rank; the same for every number of workers.

    What the ranks of a trial see together is the same for every number of ranks: the partner of an image that is mixed
    with another one is of the whole batch, so that a rank reads the partners of its images too.

    Args:
        split: of the training images.
        config: of the trial.
        seed: of the data order and of the augmentation.
        batch_size: images of all ranks in a step.
        group: the ranks of the trial.
        start_worker: called in each data loading process with its number.
    """

    def __init__(
        self,
        split: Images,
        config: TrialConfig,
        seed: int,
        batch_size: int,
        group: ProcessGroup,
        start_worker: Callable[[int], None],
    ) -> None:
        self._split, self._training, self._seed = split, config.training, seed
        self._batch_size, self._group, self._start_worker = batch_size, group, start_worker
        self._device = group.device()
        steps, training = config.data.preprocessing(), config.training
        self._size = config.data.info().image_size
        from_files = getattr(config.data, "loader", "memory") == "files"
        crops = bool(training.random_resized_crop) and from_files and CroppedFiles.can_read(split)
        self._reads_crops = crops
        pixels = None if steps is None else Pixels(steps)
        self._augment = Augmentation(training, pixels, is_cropped=crops)
        self._mixing = None
        if training.mixes_images:
            classes = len(config.data.info().classes)
            self._mixing = Mixing(mixup=training.mixup, cutmix=training.cutmix, classes=classes)
        self.timing = Timing()

    def of_epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, float32 (n, channels, height, width), and labels of each step, on the trial's device.

        Labels are classes, int64 (n,); of mixed images distributions over the classes, float32 (n, classes).
        `timing` is then that of this epoch.

        Args:
            epoch: epochs done before.
            skip: steps that are left out at the start, since they are done.
        """
        batches = iter(self._loader(epoch))
        for _ in range(skip):
            next(batches)
        return self._steps(batches, epoch)

    def _steps(self, batches: Iterator[Raw], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.timing = Timing()
        before, waited_s = None, 0.0  # None for the first step, for which processes start
        for number in itertools.count():
            started = time.perf_counter()
            if before is not None:
                self.timing = self.timing.after(started - before, waited_s)
            if (batch := next(batches, None)) is None:
                return
            ready = self._ready(batch, epoch)
            waited_s = time.perf_counter() - started
            before = started if number else None
            yield ready

    def _loader(self, epoch: int) -> DataLoader[Raw]:
        # Seeds per epoch, so that a resumed trial needs no state of the data order.
        generator = torch.Generator().manual_seed(derive(self._seed, "order", epoch))
        source: Dataset[Raw] = Indexed(self._split)
        if self._reads_crops:
            least = self._training.random_resized_crop
            source = CroppedFiles(self._split, self._size, least, self._seed, epoch)
        parts = BatchParts(
            self._split,
            self._batch_size,
            generator,
            self._group,
            with_partners=self._mixing is not None and self._group.world_size > 1,
        )
        return DataLoader(
            source,
            batch_sampler=parts,
            generator=generator,
            num_workers=self._training.workers,
            worker_init_fn=self._start_worker,
            collate_fn=_as_it_is,
            pin_memory=self._device.type == "cuda",
        )

    def _ready(self, batch: Raw, epoch: int) -> tuple[Tensor, Tensor]:
        images, labels, indices = batch
        images = images.to(self._device, non_blocking=True)
        labels = labels.to(self._device, non_blocking=True)
        draws = Draws(self._seed, epoch, indices)
        images = self._augment(images, draws)
        if self._mixing is None:
            return images, labels
        if self._group.world_size == 1:
            others, other_labels = images.flip(0), labels.flip(0)
        else:  # the partners follow the images of this rank
            images, others = images.chunk(2)
            labels, other_labels = labels.chunk(2)
            draws = draws.of(torch.arange(len(images)))
        weights, boxes = self._mixing.weights_and_boxes(draws, *images.shape[-2:])
        mixed = self._mixing.mix(images, others, weights, boxes)
        return mixed, self._mixing.targets(labels, other_labels, weights)


def _as_it_is(batch: Any) -> Any:
    """A batch is made by the data set at once."""
    return batch
