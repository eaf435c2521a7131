"""Trials at a time on a virtual clock: what a forecast and a simulation have in common."""

import heapq
from dataclasses import dataclass, field
from typing import Protocol


class Workload(Protocol):
    """What an event loop runs: trials, known by their numbers, epoch by epoch."""

    @property
    def is_over(self) -> bool:
        """Whether to leave it here, with trials that run."""

    def begin(self) -> int | None:
        """The next trial; None if there is none for now."""

    def seconds(self, trial: int, epoch: int) -> float:
        """How long that epoch takes."""

    def report(self, trial: int, epoch: int) -> bool:
        """Take in the end of an epoch, counted from 1; True if the trial ends with it."""


@dataclass(slots=True)
class EventLoop:
    """Workers that come to the end of an epoch one after the other, and the one driver.

    The driver takes one report after the other. A report that comes while it is busy waits, and so
    does the worker that sent it.

    Args:
        workers: trials at a time.
        driver_s: seconds that the driver needs for a report.
        now: the virtual clock, in seconds; goes on from one `run` to the next.
        busy_s: seconds in which workers trained, of all together.
    """

    workers: int
    driver_s: float = 0.0
    now: float = 0.0
    busy_s: float = 0.0
    _ends: list[tuple[float, int, int]] = field(default_factory=list, init=False, repr=False)

    def time(self) -> float:
        """What the virtual clock shows, for what wants a clock that it can call."""
        return self.now

    def run(self, workload: Workload) -> None:
        """Run trials until none is left, or until it is over."""
        self._fill(workload)
        while self._ends and not workload.is_over:
            at, trial, epoch = heapq.heappop(self._ends)
            self.now = max(at, self.now) + self.driver_s
            if workload.report(trial, epoch):
                self._fill(workload)
            else:
                self._train(workload, trial, epoch + 1)

    def _fill(self, workload: Workload) -> None:
        while len(self._ends) < self.workers and (trial := workload.begin()) is not None:
            self._train(workload, trial, 1)

    def _train(self, workload: Workload, trial: int, epoch: int) -> None:
        seconds = workload.seconds(trial, epoch)
        self.busy_s += seconds
        heapq.heappush(self._ends, (self.now + seconds, trial, epoch))
