"""karat's worker with the benchmark's objective.

Importing it loads Ray, so Ray's environment must be closed first (`close_environment`).
"""

from typing import Any

from benchmarks.search_objective import Work, value_of
from karat.execution.trainable import Slot
from karat.training.segment import Segment


class StandIn:
    """Replaces `karat.training.worker.SegmentWorker`: an epoch is the benchmark's objective.

    Args:
        segment: the segment of a trial to run.
        work: what it does in an epoch.
    """

    def __init__(self, segment: Segment, work: Work) -> None:
        self.segment, self._epoch, self._work = segment, segment.from_epoch, work

    def step(self) -> dict[str, Any]:
        seconds = self._work()
        self._epoch += 1
        basis = self.segment.config["attention"]["basis"]
        rate = self.segment.config["training"]["learning_rate"]
        value = value_of(basis, rate, self._epoch)
        metrics = {"val_accuracy": value, "val_loss": 1 - value, "train_loss": 1 - value}
        if self.segment.test_at_end and self._epoch == self.segment.config["training"]["epochs"]:
            metrics["test_accuracy"] = value
        return {"epoch": self._epoch, "metrics": metrics, "seconds": seconds}

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class StandInSlot(Slot):
    """karat's slot with `StandIn` as its worker, which does what the driver has announced."""

    def prepare(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._work = Work.announced()

    def worker(self, segment: Segment) -> StandIn:
        return StandIn(segment, self._work)
