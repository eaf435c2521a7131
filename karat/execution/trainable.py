"""A slot: the `Trainable` that Ray Tune keeps in a worker process, which runs segments one by one."""

import time
from typing import Any, Protocol

from ray.tune import PlacementGroupFactory, Trainable

from karat.execution.messages import IDLE, bundles_of, result_of, segment_of
from karat.system.process.signals import ignore_sigterm_if_set
from karat.training.preload import preload
from karat.training.segment import Segment

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.02, 0.32


class Worker(Protocol):
    """What a slot needs from a worker."""

    segment: Segment

    def step(self) -> dict[str, Any]:
        """Train the next epoch and return its report; keys: see `karat.training.worker`."""

    def close(self) -> None:
        """Let go of what the worker holds: called before the next one, and at the end of the slot."""


class Slot(Trainable):
    """Runs the segments that the driver assigns, epoch by epoch, until the study ends.

    This module does not import torch, which the driver does not need. To Tune it is one trial that never ends by itself. A worker that has nothing to run returns
    `IDLE` every fraction of a second, which is when the driver can assign it a segment.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """Return what Ray reserves for a slot: one bundle per process, packed on few nodes."""
        return PlacementGroupFactory(bundles_of(config), strategy="PACK")

    def setup(self, config: dict[str, Any]) -> None:
        ignore_sigterm_if_set()
        self._worker: Worker | None = None
        self._wait_s = SHORTEST_WAIT_S
        self.prepare()

    def prepare(self) -> None:
        """Load what every segment needs, while no segment waits for it."""
        preload()

    def worker(self, segment: Segment) -> Worker:
        """Return the worker that trains the segment; benchmarks override this."""
        from karat.training.worker import SegmentWorker

        if segment.processes == 1:
            return SegmentWorker(segment)
        from karat.execution.actor_rank import rendezvous_host, start_actor
        from karat.training.distributed_worker import DistributedWorker

        return DistributedWorker(segment, start_actor, rendezvous_host())

    def assign(self, assignment: str) -> None:
        """Take the next segment, or none (`karat.execution.messages`); called by the driver."""
        self.cleanup()
        segment = segment_of(assignment)
        self._worker = None if segment is None else self.worker(segment)
        self._wait_s = SHORTEST_WAIT_S

    def cleanup(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def step(self) -> dict[str, Any]:
        if self._worker is None:
            time.sleep(self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            return dict(IDLE)
        return result_of(self._worker.segment.trial, self._worker.step())
