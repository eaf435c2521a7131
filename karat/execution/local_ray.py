"""Starts Ray on this machine, closed to other users and machines; why: docs/decisions/0010."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from karat.errors import InputError, StudyError
from karat.execution import ray_internals
from karat.space.settings import ResourceConfig
from karat.system.offline import go_offline

LOOPBACK = "127.0.0.1"
# The name is historical. With "0", Ray's sockets bind to 127.0.0.1, otherwise to [::].
_SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def close_environment(address: str = LOOPBACK) -> None:
    """Set the variables that Ray reads on import and that its processes inherit.

    Args:
        address: address of the head, with or without a port; 127.0.0.1 keeps Ray on this machine.
    """
    go_offline()
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ[_SEVERAL_MACHINES] = "0" if address.partition(":")[0] == LOOPBACK else "1"
    if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        # Otherwise Ray writes a token to the home folder, which a lax umask leaves readable to others.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def start_ray(folder: Path, cpus: int, preload: Sequence[str] = ()) -> None:
    """Start Ray with its temporary files below `folder`. Call `close_environment` before.

    Args:
        folder: existing folder, closed to other users; a short path, since Ray's sockets go below it.
        cpus: the number of CPUs that Ray may give to trials; it starts as many processes at once.
        preload: modules that these processes load at once.

    Raises:
        RuntimeError, TimeoutError, ConnectionError: Ray did not start; a retry may help.
        StudyError: Ray would accept connections from other machines.
    """
    import ray

    with no_api_server() as port:
        init_ray(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            dashboard_port=port,
            temp_dir=folder / "r",  # a subfolder, since Ray makes it world-writable
            preload=preload,
        )
    address = ray.util.get_node_ip_address()
    if address != LOOPBACK:
        end_ray()
        raise StudyError(
            f"Ray would listen on {address}, open to other machines: it was imported before "
            "karat could close it. Start the study in a new process (launch.py)"
        )


def join_ray(address: str, resources: ResourceConfig, most_slots: int = 0) -> int:
    """Join a running cluster; return how many trials at a time its present nodes can run.

    Args:
        address: host and port of the head.
        resources: resources of a trial.
        most_slots: trials at a time after the cluster has grown; if positive, the present nodes
            need not fit any trial.

    Raises:
        ConnectionError: the cluster does not answer.
        InputError: no node has room for a trial.
    """
    import ray

    init_ray(address=address)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots = resources.trials_on((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
    if not max(slots, most_slots):
        end_ray()
        raise InputError(
            f"resources: the nodes of the Ray cluster at {address} have no room for a trial of "
            f"{resources.num_processes} processes, each with {resources.cpus} CPUs and "
            f"{resources.gpus_per_process:g} GPUs"
        )
    return slots


def end_ray() -> None:
    """Call `ray.shutdown`, then restore Python's SIGTERM handler, which Ray resets to the default."""
    import ray

    ray.shutdown()
    _catch_sigterm_again()


def init_ray(**settings: Any) -> None:
    """Call `ray.init` and keep the present SIGTERM handler.

    Ray replaces the handler twice: at once, in Python, to exit with status 15; seconds later in C++,
    which Python does not see, to log a stack trace. Only between the second time and the return, a
    fraction of a second, does SIGTERM still kill the process.

    Args:
        settings: arguments of `karat.execution.ray_internals.init`.

    Raises:
        RuntimeError, TimeoutError, ConnectionError: Ray did not start, or does not answer.
    """
    try:
        ray_internals.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:
        if type(error) is Exception:  # a node was not up after 30 s, as on a busy machine
            raise ConnectionError(str(error)) from error
        raise
    finally:
        _catch_sigterm_again()


def _catch_sigterm_again() -> None:
    """Install Python's SIGTERM handler again, over one that C++ code has installed."""
    known = signal.getsignal(signal.SIGTERM)
    if known is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, known)


@contextlib.contextmanager
def no_api_server() -> Iterator[int]:
    """Yield a port that is in use: Ray's API server cannot start on it, and Ray runs without.

    With the dashboard off, the API server only collects usage statistics. Even with those off, it
    queries the metadata addresses of cloud providers to find out where it runs.
    """
    with socket.socket() as taken, ray_internals.no_errors_of_services():
        taken.bind((LOOPBACK, 0))  # bound, but never listening
        yield taken.getsockname()[1]
