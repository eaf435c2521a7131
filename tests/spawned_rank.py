"""Peers as processes of this one, where there is no Ray."""

import atexit
import contextlib
import os
import threading
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import torch.multiprocessing as multiprocessing

from karat.training.distributed_worker import RankLostError, RankWorker

END_S = 5.0


class SpawnedRank:
    """A process that does what its lead calls for, and ends with it."""

    def __init__(self, rank: int) -> None:
        context = multiprocessing.get_context("spawn")  # what CUDA needs
        self._calls, theirs = context.Pipe()
        self._rank = rank
        self._process = context.Process(target=_serve, args=(theirs,), name=f"rank {rank}")
        self._process.start()
        theirs.close()
        atexit.register(self.end)

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *arguments: Any) -> Any:
        try:
            self._calls.send((method, arguments))
            return self._calls.recv()
        except (EOFError, OSError) as error:
            self._process.join(END_S)
            status = self._process.exitcode
            raise RankLostError(f"process {self._rank} of the trial ended ({status})") from error

    def end(self) -> None:
        self._process.kill()
        self._process.join(END_S)
        atexit.unregister(self.end)


def _serve(calls: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    member = RankWorker()
    with contextlib.suppress(EOFError):
        while True:
            method, arguments = calls.recv()
            calls.send(getattr(member, method)(*arguments))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
