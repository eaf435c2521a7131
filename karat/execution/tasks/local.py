"""Calls of one function as Ray tasks: as many at a time as this machine has CPUs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from karat.execution.environment import prepare_environment
from karat.execution.local_ray import LOOPBACK, end_ray, start_ray
from karat.system.tempdir import make_tempdir

T = TypeVar("T")
R = TypeVar("R")
RETRIES = 1  # of a task whose process died
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Ended(Generic[T, R]):
    """A call that has ended.

    Args:
        argument: of the call.
        value: what it returned; None where it failed.
        error: why it failed, in one line; empty where it did not.
    """

    argument: T
    value: R | None
    error: str


def run_tasks(
    function: Callable[[T], R],
    arguments: Sequence[T],
    cpus: int,
    on_end: Callable[[Ended[T, R]], None],
    should_stop: Callable[[], bool] = lambda: False,
    preload: Sequence[str] = (),
) -> None:
    """Call a function with each argument, in processes of a Ray that is started for it and ended after it.

    A call that fails, or whose process is killed, does not end the others.

    Args:
        function: of a module that the processes can import.
        arguments: one call for each, begun in this order.
        cpus: calls at a time.
        on_end: called in this process as each call ends, in the order in which they do.
        should_stop: asked every half second; once true, the processes are ended and this returns.
        preload: modules that the processes load when they start.

    Raises:
        RuntimeError, TimeoutError, ConnectionError: Ray did not start.
    """
    folder = make_tempdir()
    prepare_environment(LOOPBACK)
    try:
        start_ray(folder, cpus=cpus, preload=preload)
        _run(function, arguments, on_end, should_stop)
    finally:
        end_ray()
        shutil.rmtree(folder, ignore_errors=True)


def _run(
    function: Callable[[T], R],
    arguments: Sequence[T],
    on_end: Callable[[Ended[T, R]], None],
    should_stop: Callable[[], bool],
) -> None:
    import ray

    remote: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(function)
    waiting = {remote.remote(argument): argument for argument in arguments}
    while waiting and not should_stop():
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_EVERY_S)
        for reference in ready:
            on_end(_ended(waiting.pop(reference), reference))


def _ended(argument: T, reference: Any) -> Ended[T, R]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return Ended(argument=argument, value=ray.get(reference), error="")
    except RayTaskError as error:
        cause = error.cause
        message = " ".join(str(cause).split()) or "no message"
        return Ended(argument=argument, value=None, error=f"{type(cause).__name__}: {message}")
    except RayError as error:
        why = f"its process was lost ({type(error).__name__}); memory may have run out"
        return Ended(argument=argument, value=None, error=why)
