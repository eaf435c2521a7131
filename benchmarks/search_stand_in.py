"""karat's worker with the benchmark's objective.

Importing it loads Ray, so Ray's environment must be closed first (`close_environment`).
"""

from typing import Any

from benchmarks.search_objective import EPOCH_S, value_of, work
from karat.execution.trainable import SegmentTrainable
from karat.training.segment import Segment


class StandIn:
    """Replaces `karat.training.worker.SegmentWorker`: an epoch is the benchmark's objective.

    Args:
        segment: the segment of a trial to run.
        epoch_s: seconds per epoch.
    """

    def __init__(self, segment: Segment, epoch_s: float) -> None:
        self.segment, self._epoch, self._epoch_s = segment, segment.from_epoch, epoch_s

    def step(self) -> dict[str, Any]:
        seconds = work(self._epoch_s)
        self._epoch += 1
        basis = self.segment.config["attention"]["basis"]
        rate = self.segment.config["training"]["learning_rate"]
        value = value_of(basis, rate, self._epoch)
        metrics = {"val_accuracy": value, "val_loss": 1 - value, "train_loss": 1 - value}
        if self.segment.test_at_end and self._epoch == self.segment.config["training"]["epochs"]:
            metrics["test_accuracy"] = value
        return {"epoch": self._epoch, "metrics": metrics, "seconds": seconds}


class StandInTrainable(SegmentTrainable):
    """karat's trainable with `StandIn` as its worker."""

    epoch_s = EPOCH_S

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        super().setup(config)

    def worker(self, segment: Segment) -> StandIn:
        return StandIn(segment, self.epoch_s)


class ShortStandInTrainable(StandInTrainable):
    """The same with epochs that are as short as the engine's work for one epoch."""

    epoch_s = 0.02
