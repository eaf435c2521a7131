"""Every private name of Ray that karat uses, and every other one that Ray does not document.

Why each is needed, with which versions of Ray it was seen to work and which test fails without it:
docs/decisions/0020-private-names-of-ray.md. To be read before another version of Ray is pinned.

Ray is imported inside the functions, since the environment must be closed first (decision 0010).
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# The logger that reports an API server which did not start.
SERVICES_LOGGER = "ray._private.services"
# `ray start` writes the address of its head into this file in its temporary folder once it is up.
CURRENT_CLUSTER = "ray_current_cluster"
# Read by a raylet: modules that its worker processes load when they start.
PRELOAD_VARIABLE = "RAY_preload_python_modules"
# A raylet ends idle workers as soon as they outnumber its free CPUs: Tune's reservation of CPUs for the
# slots would end the very workers that were started for them, moments before they get their slot.
IDLE_VARIABLE, _IDLE_MS = "RAY_idle_worker_killing_time_threshold_ms", 120_000
# For every process of a cluster of several machines; its head and all others must agree. Without it
# a trial whose machine was cut off for a while is noticed after five minutes, and a machine that was
# cut off for 15 seconds is given up (decision 0020).
NETWORK = {
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "10000",
    "RAY_health_check_period_ms": "10000",
}
# The program `ray`, for the Python that runs, which may have no such program beside it.
RAY_PROGRAM = "from ray.scripts.scripts import main; main()"

_MONITORS = ("start_monitor", "start_log_monitor")
# Where Tune's controller keeps trials that have ended, in addition to its list of all trials.
_ENDED_TRIALS = ("_stopped_trials", "_failed_trials", "_trials_to_cache")


def init(temp_dir: Path | None = None, preload: Sequence[str] = (), **settings: Any) -> None:
    """`ray.init` without Ray's Python handler of SIGTERM, which would exit with status 15.

    Ray's processes get a session of their own: a signal to the process group of the driver, from
    `timeout`, a supervisor or a terminal that closes, would end them before the trials have paused.

    Args:
        temp_dir: folder for Ray's files; None where a cluster is joined.
        preload: modules that Ray's worker processes load when they start.
        settings: further arguments of `ray.init`.
    """
    import ray

    if temp_dir is not None:
        settings["_temp_dir"] = str(temp_dir)
    with (
        _no_sigterm_handler(),
        _own_sessions(),
        _no_monitors(),
        _minimal_agent(),
        _preloading(preload),
    ):
        ray.init(**settings)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute of a module or class of Ray has another value in the block."""
    theirs = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, theirs)


@contextlib.contextmanager
def _no_sigterm_handler() -> Iterator[None]:
    from ray._private import utils

    with _replaced(utils, "set_sigterm_handler", lambda _: None):
        yield


@contextlib.contextmanager
def _no_monitors() -> Iterator[None]:
    from ray._private.node import Node

    methods = {name: getattr(Node, name) for name in _MONITORS}
    leave_out_monitors()
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(Node, name, method)


def leave_out_monitors() -> None:
    """From now on this process starts neither Ray's autoscaler nor its log monitor.

    karat has no use for them. On a small machine each delays the first trial by half a second.
    """
    from ray._private.node import Node

    for name in _MONITORS:
        setattr(Node, name, lambda self: None)


@contextlib.contextmanager
def _minimal_agent() -> Iterator[None]:
    """The agent of a node starts without the parts that serve the dashboard: a raylet waits for it."""
    from ray._private import utils

    not_used = ImportError("the dashboard is not used")
    with _replaced(utils, "get_dashboard_dependency_error", lambda: not_used):
        yield


@contextlib.contextmanager
def no_usage_of_callbacks() -> Iterator[None]:
    """Tune does not count the kinds of its callbacks for usage reports, which are off.

    To tell them apart it would import the integrations of MLflow, Weights & Biases and others: two seconds.
    """
    from ray.air._internal import usage

    with _replaced(usage, "tag_callbacks", lambda callbacks: False):
        yield


@contextlib.contextmanager
def _preloading(modules: Sequence[str]) -> Iterator[None]:
    """Raylets that are started in the block have their worker processes load modules, and keep them."""
    if not modules:
        yield
        return
    settings = {PRELOAD_VARIABLE: ",".join(modules), IDLE_VARIABLE: str(_IDLE_MS)}
    before = {name: os.environ[name] for name in settings if name in os.environ}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def plain_workers() -> Iterator[None]:
    """Tune's workers are the processes that a local Ray has started already.

    Tune gives them a runtime environment, a copy of some variables of the driver, for which Ray starts
    other processes. Those of a local Ray have inherited all variables.
    """
    import ray
    from ray.tune.execution.class_cache import _ActorClassCache

    with _replaced(_ActorClassCache, "get", lambda self, trainable: ray.remote(trainable)):
        yield


@contextlib.contextmanager
def _own_sessions() -> Iterator[None]:
    """Start a session in each process that Ray starts; it still ends with this process."""
    from ray._private import utils

    end_with_parent = utils.set_kill_on_parent_death_linux

    def prepare() -> None:
        end_with_parent()
        os.setsid()

    with _replaced(utils, "set_kill_on_parent_death_linux", prepare):
        yield


@contextlib.contextmanager
def no_errors_of_services() -> Iterator[None]:
    """Silence what Ray reports about its own processes."""
    logger = logging.getLogger(SERVICES_LOGGER)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def forget_ended_trials(controller: Any) -> None:
    """Remove ended trials from Tune's controller, which would keep them all (decision 0019).

    Args:
        controller: as Tune passes it to a scheduler.
    """
    trials = controller.get_trials()
    for trial in [trial for trial in trials if trial.is_finished()]:
        trials.remove(trial)
        for group in _ENDED_TRIALS:
            getattr(controller, group).discard(trial)


def assign(trial: Any, assignment: str) -> None:
    """Call `assign` of a slot's worker, before what Tune calls next.

    Ray runs the calls of one caller in their order. If the worker is gone, Tune notices by its own call.

    Args:
        trial: the slot, as Tune passes it to a scheduler or a callback.
        assignment: as in `karat.execution.messages`.
    """
    trial.temporary_state.ray_actor.assign.remote(assignment)


def kill_worker(trial: Any) -> None:
    """Kill the worker process of a slot, which may be stopped; Tune notices its death.

    Args:
        trial: the slot, as Tune passes it to a scheduler.
    """
    import ray

    ray.kill(trial.temporary_state.ray_actor)


def treat_memory_kills_as_deaths(controller: Any, tell: Callable[[bool], None]) -> None:
    """Make Tune treat a kill by Ray's memory monitor as the death of an actor.

    It arrives as an `OutOfMemoryError`, which is not a `RayActorError`: Tune does not expect it, and
    ends the run with all its trials.

    Args:
        controller: as Tune passes it to a scheduler.
        tell: called with True before such a death is handled, with False after any.
    """
    from ray.exceptions import OutOfMemoryError, RayActorError

    manager = controller._actor_manager
    handle = manager._actor_task_failed

    def handle_also_memory(tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            tell(True)
            exception = RayActorError(error_msg=str(exception))
        handle(tracked_actor_task=tracked_actor_task, exception=exception)
        tell(False)

    manager._actor_task_failed = handle_also_memory


def free_resources_by(controller: Any, make: Callable[[Callable[[Any], None]], Any]) -> Any:
    """Put something in the place of Tune's function that removes the placement group of a slot.

    Args:
        controller: as Tune passes it to a scheduler.
        make: makes it from Tune's own function.

    Returns:
        What was made.
    """
    manager = controller._actor_manager._resource_manager
    manager.free_resources = made = make(manager.free_resources)
    return made
