"""karat's worker with the benchmark's objective in it; loads Ray, so only once that is closed."""

from typing import Any

from benchmarks.search_objective import EPOCHS, value_of, work
from karat.segments import Segment
from karat.trainable import SegmentTrainable


class StandIn:
    """In the place of `karat.worker.SegmentWorker`: an epoch is the benchmark's objective."""

    def __init__(self, segment: Segment) -> None:
        self.segment, self._epoch = segment, segment.from_epoch

    def step(self) -> dict[str, Any]:
        seconds = work()
        self._epoch += 1
        basis = self.segment.config["attention"]["basis"]
        rate = self.segment.config["training"]["learning_rate"]
        value = value_of(basis, rate, self._epoch)
        metrics = {"val_accuracy": value, "val_loss": 1 - value, "train_loss": 1 - value}
        if self.segment.test_at_end and self._epoch == EPOCHS:
            metrics["test_accuracy"] = value
        return {"epoch": self._epoch, "metrics": metrics, "seconds": seconds}


class StandInTrainable(SegmentTrainable):
    """karat's trainable, with the stand-in."""

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        super().setup(config)

    def worker(self, segment: Segment) -> StandIn:
        return StandIn(segment)
