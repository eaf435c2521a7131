"""Runs trials in parallel on a virtual clock; used by the forecast and the simulator."""

import heapq
from dataclasses import dataclass, field
from typing import Protocol


class Workload(Protocol):
    """Trials that an event loop runs epoch by epoch, identified by their numbers.

    A trial may begin more than once: it then goes on after the last epoch that it has reported.
    """

    @property
    def is_over(self) -> bool:
        """Whether to stop now, even if trials are running."""

    def begin(self) -> int | None:
        """Start and return the next trial; None if none can start now."""

    def seconds(self, trial: int, epoch: int) -> float:
        """Return the duration of that epoch, in seconds."""

    def report(self, trial: int, epoch: int) -> bool:
        """Process the end of an epoch, counted from 1; return True if its worker is free."""


@dataclass(slots=True)
class EventLoop:
    """Discrete-event simulation of several workers and one driver.

    The driver processes one report at a time. A report that arrives while the driver is busy
    waits, and so does the worker that sent it.

    Args:
        workers: number of trials at a time.
        driver_s: seconds that the driver needs for a report.
        now: virtual time in seconds; the next `run` continues from it.
        busy_s: seconds in which workers trained, summed over workers.
    """

    workers: int
    driver_s: float = 0.0
    now: float = 0.0
    busy_s: float = 0.0
    _ends: list[tuple[float, int, int]] = field(default_factory=list, init=False, repr=False)
    _reported: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def time(self) -> float:
        """Return the virtual time: a drop-in for `time.time`."""
        return self.now

    def run(self, workload: Workload) -> None:
        """Run trials until none is left or the workload is over."""
        self._reported.clear()
        self._fill(workload)
        while self._ends and not workload.is_over:
            at, trial, epoch = heapq.heappop(self._ends)
            self.now = max(at, self.now) + self.driver_s
            self._reported[trial] = epoch
            if workload.report(trial, epoch):
                self._fill(workload)
            else:
                self._train(workload, trial, epoch + 1)

    def _fill(self, workload: Workload) -> None:
        while len(self._ends) < self.workers and (trial := workload.begin()) is not None:
            self._train(workload, trial, self._reported.get(trial, 0) + 1)

    def _train(self, workload: Workload, trial: int, epoch: int) -> None:
        seconds = workload.seconds(trial, epoch)
        self.busy_s += seconds
        heapq.heappush(self._ends, (self.now + seconds, trial, epoch))
