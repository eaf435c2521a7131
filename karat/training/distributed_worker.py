"""A segment in several processes: this one leads, the others are its peers.

All do an epoch, then the next: a peer steps when the lead does. What ends one of them ends all, and
the report names what came first. A segment begins with new peers, since a process that trained is
not always fit to train again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from karat.training.process_group import Backend, RankInfo, abort, leave, open_rendezvous
from karat.training.segment import Segment
from karat.training.worker import SegmentWorker

Report = dict[str, Any]
GRACE_S = 1.0  # for peers to say why, when the lead has failed


class RankLostError(Exception):
    """A peer's process is gone: `lost`, or ended for want of `memory`."""

    def __init__(self, reason: str, cause: str = "lost") -> None:
        super().__init__(reason)
        self.cause = cause


class RankWorker:
    """In a peer's process: what the lead makes it do."""

    def begin(self, segment: Segment, place: RankInfo) -> None:
        """Take a segment; the group is joined at the first step."""
        import karat.training.trainer  # noqa: F401 - takes seconds, and the others wait for it

        self._worker = SegmentWorker(segment, place)

    def step(self) -> Report:
        """The report of the next epoch, of which the lead wants to know whether it failed."""
        return self._worker.step_unlimited()


class RankHandle(Protocol):
    """A peer, as the lead sees it."""

    def call(self, method: str, *arguments: Any) -> Any:
        """The answer of its `RankWorker`.

        Raises:
            RankLostError: the process is gone.
        """

    def end(self) -> None:
        """End the process, whatever it is doing."""


class DistributedWorker:
    """As `karat.training.worker.SegmentWorker`, with as many processes as the segment wants.

    Args:
        segment: to be run.
        start: a peer, by its rank.
        host: this machine's address, where the peers can reach it.
    """

    def __init__(self, segment: Segment, start: Callable[[int], RankHandle], host: str) -> None:
        self.segment = segment
        self._listener, port = open_rendezvous(host)
        backend: Backend = "nccl" if segment.gpus >= segment.processes else "gloo"
        places = [
            RankInfo(rank=rank, world_size=segment.processes, host=host, port=port, backend=backend)
            for rank in range(segment.processes)
        ]
        self._lead = SegmentWorker(segment, places[0], self._listener)
        self._peers = {place: start(place.rank) for place in places[1:]}
        self._threads = ThreadPoolExecutor(len(self._peers))
        self._first: Report | None = None  # failure of a peer
        self._begun = False

    def step(self) -> Report:
        """The report of the next epoch."""
        if not self._begun:
            begun = [self._threads.submit(self._begin, *each) for each in self._peers.items()]
            wait(begun)
            self._begun = True
        answers = [self._threads.submit(self._watch, *each) for each in self._peers.items()]
        own = self._lead.step() if self._first is None else self._first
        if "epoch" in own:
            wait(answers, self.segment.limit_s)
        else:
            wait(answers, GRACE_S)
        report = self._report(own, answers)
        if "epoch" not in report:
            self.end()
        return report

    def end(self) -> None:
        """End the peers, and leave the group."""
        self._end_peers()
        self._threads.shutdown()
        self._lead.forget()
        self._listener.close()
        leave()

    def _report(self, own: Report, answers: Sequence[Future[None]]) -> Report:
        """What the study is told: of a failure, the one that came first and is no consequence."""
        if "paused" in own:
            return own
        if self._first is None and "epoch" in own and not all(each.done() for each in answers):
            return {"failed": "a process of the trial did not end its epoch", "cause": "lost"}
        if self._first is not None and own.get("cause", "lost") == "lost":
            return self._first
        return own

    def _begin(self, place: RankInfo, peer: RankHandle) -> None:
        try:
            peer.call("begin", self.segment, place)
        except RankLostError as error:
            self._fail({"failed": str(error), "cause": error.cause})

    def _watch(self, place: RankInfo, peer: RankHandle) -> None:
        """Let a peer do an epoch; if it fails, nobody is left waiting for it."""
        try:
            report = peer.call("step")
        except RankLostError as error:
            report = {"failed": str(error), "cause": error.cause}
        if "failed" in report:
            self._fail({**report, "failed": f"process {place.rank}: {report['failed']}"})

    def _fail(self, report: Report) -> None:
        if self._first is None or self._first["cause"] == "lost" != report["cause"]:
            self._first = report
        self._end_peers()
        abort()

    def _end_peers(self) -> None:
        for peer in self._peers.values():
            peer.end()
