"""The face that Ray Tune wants in a worker. Loads as little as it can: the first trials wait for it."""

import json
from typing import Any, Protocol

from ray.tune import Trainable

from karat.execution.actor_rank import here, start_actor
from karat.system.signals import ignore_sigterm_if_set
from karat.training.distributed_worker import DistributedWorker
from karat.training.segment import Segment
from karat.training.worker import SegmentWorker

REPORT = "karat_report"


class Worker(Protocol):
    """What a trainable needs of a worker."""

    segment: Segment

    def step(self) -> dict[str, Any]:
        """The report of the next epoch, as `karat.training.worker` has it."""


class SegmentTrainable(Trainable):
    """In a worker: one segment, epoch by epoch; the process is kept for the next one."""

    def setup(self, config: dict[str, Any]) -> None:
        ignore_sigterm_if_set()
        self._worker = self.worker(Segment(**json.loads(config["segment"])))

    def worker(self, segment: Segment) -> Worker:
        """What carries the segment out; benchmarks have another."""
        if segment.processes == 1:
            return SegmentWorker(segment)
        return DistributedWorker(segment, start_actor, here())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        if isinstance(self._worker, DistributedWorker):
            self._worker.close()

    def step(self) -> dict[str, Any]:
        return {REPORT: json.dumps({"trial": self._worker.segment.trial, **self._worker.step()})}
