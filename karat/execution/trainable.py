"""The `Trainable` that Ray Tune runs in a worker. Imports little, since the first trials wait for it."""

from typing import Any, Protocol

from ray.tune import PlacementGroupFactory, Trainable

from karat.execution.actor_rank import bundles_of, rendezvous_host, start_actor
from karat.execution.messages import result_of, segment_of
from karat.system.signals import ignore_sigterm_if_set
from karat.training.distributed_worker import DistributedWorker
from karat.training.segment import Segment
from karat.training.worker import SegmentWorker


class Worker(Protocol):
    """What `SegmentTrainable` needs from a worker."""

    segment: Segment

    def step(self) -> dict[str, Any]:
        """Train the next epoch and return its report; keys: see `karat.training.worker`."""


class SegmentTrainable(Trainable):
    """Runs one segment epoch by epoch; Tune reuses the process for the next segment."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """Return what Ray reserves for a segment: one bundle per process, packed on few nodes."""
        return PlacementGroupFactory(bundles_of(segment_of(config)), strategy="PACK")

    def setup(self, config: dict[str, Any]) -> None:
        ignore_sigterm_if_set()
        self._worker = self.worker(segment_of(config))

    def worker(self, segment: Segment) -> Worker:
        """Return the worker that trains the segment; benchmarks override this."""
        if segment.processes == 1:
            return SegmentWorker(segment)
        return DistributedWorker(segment, start_actor, rendezvous_host())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        if isinstance(self._worker, DistributedWorker):
            self._worker.close()

    def step(self) -> dict[str, Any]:
        return result_of(self._worker.segment.trial, self._worker.step())
