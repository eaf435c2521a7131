"""The processes that train one trial together, each on its part of every batch.

A process alone is a group of one, in which nothing is sent and nothing listens.
"""

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import TCPStore
from torch.nn.parallel import DistributedDataParallel

LOOPBACK = "127.0.0.1"
RENDEZVOUS_S = 60.0  # all have started already
COLLECTIVE_S = 1800.0  # the longest that one waits for another, as for a checkpoint
_SIGNS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
Backend = Literal["gloo", "nccl"]


@dataclass(frozen=True, kw_only=True)
class RankInfo:
    """Where a process stands in its group, as plain data.

    Args:
        rank: its number; 0 leads.
        size: how many there are.
        host, port: where the group meets.
        backend: `nccl` where each has a GPU of its own.
    """

    rank: int
    world_size: int
    host: str
    port: int
    backend: Backend


class ProcessGroup:
    """This process's side of its group; `ProcessGroup()` is alone."""

    def __init__(self, place: RankInfo | None = None) -> None:
        self.rank, self.world_size = (place.rank, place.world_size) if place else (0, 1)

    @classmethod
    def join(cls, place: RankInfo, listener: socket.socket | None = None) -> "ProcessGroup":
        """Meet the others; returns when all are there.

        Args:
            place: in the group.
            listener: of rank 0, bound to `host` and `port` of the place: torch would bind to
                every address of the machine.

        Raises:
            RuntimeError: the others did not come in time.
        """
        if place.host == LOOPBACK:
            os.environ.update(dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), _own()))
        store = TCPStore(
            place.host,
            place.port,
            place.world_size,
            is_master=listener is not None,
            timeout=datetime.timedelta(seconds=RENDEZVOUS_S),
            wait_for_workers=False,
            master_listen_fd=listener.detach() if listener is not None else None,
        )
        group = cls(place)
        if place.backend == "nccl":
            torch.cuda.set_device(group.device())
        dist.init_process_group(
            place.backend,
            store=store,
            rank=place.rank,
            world_size=place.world_size,
            timeout=datetime.timedelta(seconds=COLLECTIVE_S),
        )
        return group

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def device(self) -> torch.device:
        """This process's; under Ray it sees no GPU but its own."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if self.world_size == 1:
            return torch.device("cuda")
        return torch.device("cuda", self.rank % torch.cuda.device_count())

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with the gradients of all averaged in its backward pass."""
        if self.world_size == 1:
            return model
        # Buffers hold tables, which training does not change.
        return DistributedDataParallel(
            model, forward_sync_buffers=False, gradient_as_bucket_view=True
        )

    def all_reduce(self, values: Tensor) -> Tensor:
        """Over all, the same in each."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def all_gather(self, value: Any) -> list[Any]:
        """What each has, by rank."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value)
        return found

    def shard(self, rows: range) -> range:
        """This process's part of some rows, as equal as can be."""
        first, last = (len(rows) * part // self.world_size for part in (self.rank, self.rank + 1))
        return rows[first:last]


def open_rendezvous(host: str) -> tuple[socket.socket, int]:
    """A listening socket on a free port of one address, and the port."""
    listener = socket.create_server((host, 0))
    return listener, listener.getsockname()[1]


def leave() -> None:
    """Leave the group that this process is in, if it is."""
    if dist.is_initialized():
        dist.destroy_process_group()


def abort() -> None:
    """Free this process from waiting for others that are gone; what it waits for fails.

    Gloo notices by itself; NCCL would wait for `COLLECTIVE_S`.
    """
    with contextlib.suppress(RuntimeError, ValueError, AttributeError):
        if dist.is_initialized() and dist.get_backend() == "nccl":
            dist.distributed_c10d._abort_process_group()


@contextlib.contextmanager
def gradient_sync(model: nn.Module, is_last: bool) -> Iterator[None]:
    """Around a backward pass: only the last part of a batch sends its gradients."""
    if is_last or not isinstance(model, DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


def is_process_group_error(error: BaseException) -> bool:
    """Whether an error means that another process of the group is gone, or did not come."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


def _own() -> str:
    """The name of the interface that reaches this machine alone."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == LOOPBACK for each in addresses):
            return name
    return "lo"
