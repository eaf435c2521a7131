"""The process group of a trial: each rank trains on its shard of every batch.

A single process is a group of world size 1, which opens no connection and no port.
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
RENDEZVOUS_S = 60.0  # short, since all processes run already when rank 0 joins
COLLECTIVE_S = 1800.0  # long, since the other ranks wait while rank 0 writes a checkpoint
# Some errors have no class of their own in torch 2.13 and 2.14: their messages contain one of these.
_SIGNS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
Backend = Literal["gloo", "nccl"]


@dataclass(frozen=True, kw_only=True)
class RankInfo:
    """What a process needs to join its process group, as plain data.

    Args:
        rank: number of the process, from 0. Rank 0 writes checkpoints and reports.
        world_size: number of processes.
        host, port: address of the rendezvous, a store that rank 0 serves.
        backend: `nccl` if each rank has a GPU, otherwise `gloo`.
    """

    rank: int
    world_size: int
    host: str
    port: int
    backend: Backend


class ProcessGroup:
    """The process group as one process sees it; `ProcessGroup()` is a single process."""

    def __init__(self, info: RankInfo | None = None) -> None:
        self.rank, self.world_size = (info.rank, info.world_size) if info else (0, 1)

    @classmethod
    def join(cls, info: RankInfo, listener: socket.socket | None = None) -> "ProcessGroup":
        """Join the process group; returns when all ranks have joined.

        Args:
            info: rank, world size and rendezvous.
            listener: on rank 0, the socket that listens at `host` and `port`.

        Raises:
            RuntimeError: another rank did not join within `RENDEZVOUS_S`.
        """
        if info.host == LOOPBACK:  # otherwise both listen on the machine's public address
            names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
            os.environ.update(dict.fromkeys(names, _loopback_interface()))
        # With a port instead of a socket, TCPStore would bind to every address of the machine.
        store = TCPStore(
            info.host,
            info.port,
            info.world_size,
            is_master=listener is not None,
            timeout=datetime.timedelta(seconds=RENDEZVOUS_S),
            wait_for_workers=False,
            master_listen_fd=listener.detach() if listener is not None else None,
        )
        group = cls(info)
        if info.backend == "nccl":  # before NCCL starts, which uses the current device
            torch.cuda.set_device(group.device())
        dist.init_process_group(
            info.backend,
            store=store,
            rank=info.rank,
            world_size=info.world_size,
            timeout=datetime.timedelta(seconds=COLLECTIVE_S),
        )
        return group

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes checkpoints and reports."""
        return self.rank == 0

    def device(self) -> torch.device:
        """The device of this rank. Under Ray a process sees only its own GPU, with index 0."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if self.world_size == 1:
            return torch.device("cuda")
        return torch.device("cuda", self.rank % torch.cuda.device_count())

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, whose backward pass averages the gradients over all ranks."""
        if self.world_size == 1:
            return model
        # Buffers need no synchronisation: they are constant tables, as of relative positions.
        return DistributedDataParallel(
            model, forward_sync_buffers=False, gradient_as_bucket_view=True
        )

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over all ranks, the same on each."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def all_gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value)
        return found

    def shard(self, rows: range) -> range:
        """The consecutive part of `rows` for this rank; parts differ in size by at most 1."""
        first, last = (len(rows) * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return rows[first:last]


def open_rendezvous(host: str) -> tuple[socket.socket, int]:
    """A socket that listens on a free port of one address, and the port."""
    listener = socket.create_server((host, 0))
    return listener, listener.getsockname()[1]


def leave() -> None:
    """Leave the process group if this process is in one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def abort() -> None:
    """Make a collective operation that waits for a lost rank fail at once.

    Gloo detects the lost connection itself; NCCL would wait for `COLLECTIVE_S`.
    """
    # The function is private in torch 2.13 and 2.14. Without it the wait only lasts longer.
    with contextlib.suppress(RuntimeError, ValueError, AttributeError):
        if dist.is_initialized() and dist.get_backend() == "nccl":
            dist.distributed_c10d._abort_process_group()


@contextlib.contextmanager
def gradient_sync(model: nn.Module, is_last: bool) -> Iterator[None]:
    """Context of a backward pass: only the last micro-batch averages gradients over the ranks."""
    if is_last or not isinstance(model, DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


def is_process_group_error(error: BaseException) -> bool:
    """Whether an error means that another rank is lost, or did not join."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


def _loopback_interface() -> str:
    """The name of the loopback interface: `lo` on Linux."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == LOOPBACK for each in addresses):
            return name
    return "lo"
