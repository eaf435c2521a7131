"""A segment in several processes: rank 0 runs here and drives the other ranks.

All ranks train the same epoch at the same time: rank 0 calls `step` on the others before its own.
If one rank fails, all are killed, and the report names the failure that came first. Every segment
starts new processes for the other ranks, since after a failure the CUDA context and the process
group of a process may be unusable.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from karat.causes import Failure, Loss
from karat.training.process_group import Backend, RankInfo, abort, leave, open_rendezvous
from karat.training.segment import Segment
from karat.training.worker import SegmentWorker, failed

Report = dict[str, Any]
GRACE_S = 1.0  # after a failure of rank 0, for the other ranks to report theirs


class RankLostError(Exception):
    """The process of a rank exited.

    Args:
        cause: `LOST`, or `MEMORY` if the process was killed because memory ran out.
        details: the details of the failure (`karat.causes.Failure`).
    """

    def __init__(self, cause: Failure, **details: Any) -> None:
        super().__init__(f"{cause}: {details}")
        self.report = failed(cause, **details)


class RankWorker:
    """One rank other than 0, in its own process; rank 0 calls its methods."""

    def start(self, segment: Segment, info: RankInfo) -> None:
        """Prepare a segment; the rank joins the process group at its first step."""
        # Takes seconds. During the first step the other ranks would wait for it.
        import karat.training.trainer  # noqa: F401

        self._worker = SegmentWorker(segment, info)

    def step(self) -> Report:
        """The report of the next epoch; rank 0 only looks at whether it failed."""
        return self._worker.step_unlimited()


class RankHandle(Protocol):
    """A `RankWorker` in another process, as rank 0 sees it."""

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the `RankWorker` and return its result.

        Raises:
            RankLostError: the process has exited.
        """

    def kill(self) -> None:
        """Kill the process, whatever it is doing."""


class DistributedWorker:
    """As `karat.training.worker.SegmentWorker`, with the number of processes that a segment sets.

    Args:
        segment: what to run.
        start: starts the process of a rank, given its number.
        host: address of this machine that the other ranks can reach.
    """

    def __init__(self, segment: Segment, start: Callable[[int], RankHandle], host: str) -> None:
        self.segment = segment
        self._listener, port = open_rendezvous(host)
        # Without a whole GPU for each rank, several would share one, which NCCL refuses.
        backend: Backend = "nccl" if segment.gpus >= segment.processes else "gloo"
        infos = [
            RankInfo(rank=rank, world_size=segment.processes, host=host, port=port, backend=backend)
            for rank in range(segment.processes)
        ]
        self._rank_zero = SegmentWorker(segment, infos[0], self._listener)
        self._others = {info: start(info.rank) for info in infos[1:]}
        self._threads = ThreadPoolExecutor(len(self._others))
        self._failure: Report | None = None  # of another rank
        self._started = False

    def step(self) -> Report:
        """The report of the next epoch."""
        if not self._started:
            started = [self._threads.submit(self._start, *each) for each in self._others.items()]
            wait(started)
            self._started = True
        # The others first: rank 0 blocks in its epoch until they take part in it.
        steps = [self._threads.submit(self._watch, *each) for each in self._others.items()]
        own = self._rank_zero.step() if self._failure is None else self._failure
        if "epoch" in own:
            wait(steps, self.segment.limit_s)
        else:
            wait(steps, GRACE_S)
        report = self._choose_report(own, steps)
        if "epoch" not in report:
            self.close()
        return report

    def close(self) -> None:
        """Kill the other ranks and leave the process group."""
        self._kill_others()
        self._threads.shutdown()
        self._rank_zero.close()
        self._listener.close()
        leave()

    def _choose_report(self, own: Report, steps: Sequence[Future[None]]) -> Report:
        """The report for the study: of several failures, the cause and not its consequences."""
        if "paused" in own:
            return own
        if self._failure is None and "epoch" in own and not all(each.done() for each in steps):
            return failed(Failure.LOST, what=Loss.EPOCH)
        # `lost` on rank 0 is mostly a consequence: the connection to the rank that failed is gone.
        if self._failure is not None and own.get("failed", Failure.LOST) == Failure.LOST:
            return self._failure
        return own

    def _start(self, info: RankInfo, handle: RankHandle) -> None:
        try:
            handle.call("start", self.segment, info)
        except RankLostError as error:
            self._fail(error.report)

    def _watch(self, info: RankInfo, handle: RankHandle) -> None:
        """Run an epoch on another rank; if it fails, release the ranks that wait for it."""
        try:
            report = handle.call("step")
        except RankLostError as error:
            self._fail(error.report)
            return
        if "failed" in report:
            self._fail({**report, "details": {**report["details"], "rank": info.rank}})

    def _fail(self, report: Report) -> None:
        # The first failure counts, but `lost` gives way to a failure with a known cause.
        if self._failure is None or self._failure["failed"] == Failure.LOST != report["failed"]:
            self._failure = report
        self._kill_others()
        abort()

    def _kill_others(self) -> None:
        for handle in self._others.values():
            handle.kill()
