"""A Ray of our own on this machine, closed to everybody else. Why each of these: docs/decisions/0010."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karat.errors import InputError, StudyError
from karat.space.settings import ResourceConfig
from karat.system.offline import go_offline

LOOPBACK = "127.0.0.1"
# The name is history: off, it binds Ray's sockets to 127.0.0.1, where they else take [::].
_SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def close_environment(address: str = LOOPBACK) -> None:
    """Set what Ray reads when it is imported, and what its processes inherit.

    Args:
        address: of the head, with a port or without; any but 127.0.0.1 is reached from other machines.
    """
    go_offline()
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ[_SEVERAL_MACHINES] = "0" if address.partition(":")[0] == LOOPBACK else "1"
    if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        # Else Ray leaves a token in the home folder, readable as an older umask had it.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def start_ray(folder: Path, cpus: int) -> None:
    """Start Ray with its temporary files below `folder`; after `close_environment`.

    Args:
        folder: there, and closed to others; its path short, since Ray puts sockets below it.
        cpus: that Ray is to have.

    Raises:
        RuntimeError, TimeoutError, ConnectionError: Ray did not start; another attempt may help.
        StudyError: it would listen to other machines.
    """
    import ray

    with no_api_server() as port:
        _init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            dashboard_port=port,
            _temp_dir=str(folder / "r"),  # Ray opens this one to everybody
        )
    address = ray.util.get_node_ip_address()
    if address != LOOPBACK:
        end_ray()
        raise StudyError(
            f"Ray would listen on {address}, open to other machines: it was imported before "
            "karat could close it. Start the study from a process of its own (launch.py)"
        )


def join_ray(address: str, resources: ResourceConfig, most_slots: int = 0) -> int:
    """Join a running cluster, and say how many trials it runs at a time with the nodes it has now.

    Args:
        address: host and port of its head.
        resources: of a trial.
        most_slots: trials at a time once it has grown; its nodes may then all be yet to come.

    Raises:
        ConnectionError: it does not answer.
        InputError: its nodes have no room for a trial.
    """
    import ray

    _init(address=address)
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
    """`ray.shutdown`, which gives SIGTERM back to the system: to whoever had it instead."""
    import ray

    ray.shutdown()
    _catch_sigterm_again()


def _init(**settings: Any) -> None:
    """`ray.init`, which leaves SIGTERM to whoever has it.

    Ray takes it twice. First thing, by a function of this name, to end the process with status
    15; seconds later, in C++ and so unseen by Python, to write down where it was. Only between
    that and the return, a fraction of a second, SIGTERM still ends the process.

    Raises:
        RuntimeError, TimeoutError, ConnectionError: Ray did not start, or does not answer.
    """
    import ray
    from ray._private import utils

    takes_sigterm = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda _: None
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:
        if type(error) is Exception:  # a node that is not up after 30 s, as on a busy machine
            raise ConnectionError(str(error)) from error
        raise
    finally:
        utils.set_sigterm_handler = takes_sigterm
        _catch_sigterm_again()


def _catch_sigterm_again() -> None:
    """Put the handler that Python knows of in the place of one that C++ has set."""
    known = signal.getsignal(signal.SIGTERM)
    if known is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, known)


@contextlib.contextmanager
def no_api_server() -> Iterator[int]:
    """A port that is taken, so that Ray goes without its API server, and does not mind.

    Without a dashboard that process has one job left, usage statistics, for which it asks the
    clouds' metadata addresses where it runs, also when the statistics are off.
    """
    quiet = logging.getLogger("ray._private.services")
    level = quiet.level
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))  # and never listens
        quiet.setLevel(logging.CRITICAL)
        try:
            yield taken.getsockname()[1]
        finally:
            quiet.setLevel(level)
