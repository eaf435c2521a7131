"""The ranks of a trial other than 0 as child processes, for tests without Ray."""

import atexit
import contextlib
import os
import threading
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import torch.multiprocessing as multiprocessing

from karat.causes import Failure, Loss
from karat.system import fault_injection
from karat.training.distributed_worker import RankLostError, RankWorker
from tests.forkserver import CONTEXT

JOIN_S = 60.0


class SpawnedRank:
    """A process whose methods rank 0 calls, and which exits when rank 0 does."""

    def __init__(self, rank: int) -> None:
        self._calls, theirs = CONTEXT.Pipe()
        self._rank = rank
        self._process = CONTEXT.Process(
            target=_serve, args=(theirs, os.environ.get("KARAT_FAULT", "")), name=f"rank {rank}"
        )
        self._process.start()
        theirs.close()
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        """The process ID."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *arguments: Any) -> Any:
        try:
            self._calls.send((method, arguments))
            return self._calls.recv()
        except (EOFError, OSError) as error:
            self._process.join(JOIN_S)
            raise RankLostError(Failure.LOST, what=Loss.RANK, rank=self._rank) from error

    def kill(self) -> None:
        self._process.kill()
        self._process.join(JOIN_S)
        atexit.unregister(self.kill)


def _serve(calls: Connection, fault: str) -> None:
    fault_injection.use(fault)  # the server was started with another environment
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    worker = RankWorker()
    with contextlib.suppress(EOFError):
        while True:
            method, arguments = calls.recv()
            calls.send(getattr(worker, method)(*arguments))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
