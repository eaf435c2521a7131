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
class Place:
    """Where a process stands in its group, as plain data.

    Args:
        rank: its number; 0 leads.
        size: how many there are.
        host, port: where the group meets.
        backend: `nccl` where each has a GPU of its own.
    """

    rank: int
    size: int
    host: str
    port: int
    backend: Backend


class Group:
    """This process's side of its group; `Group()` is alone."""

    def __init__(self, place: Place | None = None) -> None:
        self.rank, self.size = (place.rank, place.size) if place else (0, 1)

    @classmethod
    def join(cls, place: Place, listener: socket.socket | None = None) -> "Group":
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
            place.size,
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
            world_size=place.size,
            timeout=datetime.timedelta(seconds=COLLECTIVE_S),
        )
        return group

    @property
    def is_lead(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def device(self) -> torch.device:
        """This process's; under Ray it sees no GPU but its own."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if self.size == 1:
            return torch.device("cuda")
        return torch.device("cuda", self.rank % torch.cuda.device_count())

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with the gradients of all averaged in its backward pass."""
        if self.size == 1:
            return model
        # Buffers hold tables, which training does not change.
        return DistributedDataParallel(
            model, forward_sync_buffers=False, gradient_as_bucket_view=True
        )

    def sum(self, values: Tensor) -> Tensor:
        """Over all, the same in each."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """What each has, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def share(self, rows: range) -> range:
        """This process's part of some rows, as equal as can be."""
        first, last = (len(rows) * part // self.size for part in (self.rank, self.rank + 1))
        return rows[first:last]


def meeting_place(host: str) -> tuple[socket.socket, int]:
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
def summed_up(model: nn.Module, is_last: bool) -> Iterator[None]:
    """Around a backward pass: only the last part of a batch sends its gradients."""
    if is_last or not isinstance(model, DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


def is_of_group(error: BaseException) -> bool:
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
