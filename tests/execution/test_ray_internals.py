"""What karat uses of Ray's inside is still there, in Ray's own objects; none of this starts Ray.

Each test fails when a name in docs/decisions/0020-private-names-of-ray.md is renamed.
"""

import importlib.metadata
import inspect
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.tune.tune
from ray._common.utils import get_ray_address_file
from ray._private import ray_constants, services, utils, worker
from ray._private.node import Node
from ray._private.workers import default_worker
from ray.air._internal import usage
from ray.dashboard.modules.job import job_supervisor
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

from jobs.slurm import ray_hook
from karat.execution import local_ray, ray_internals


class Trial:
    """What Tune's controller keeps of one."""

    def __init__(self, has_ended: bool) -> None:
        self.is_finished = lambda: has_ended


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tune's own, with no resources to manage: Ray's managers of resources start a Ray."""
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")  # else it asks the Ray that runs
    resources: Any = SimpleNamespace(free_resources=lambda acquired_resource: None)
    return TuneController(resource_manager_factory=lambda: resources)


def test_tunes_controller_forgets_trials_that_have_ended(controller: Any) -> None:
    completed, failed, runs = Trial(True), Trial(True), Trial(False)
    controller.get_trials().extend([completed, runs, failed])
    controller._stopped_trials.add(completed)
    controller._failed_trials.add(failed)
    controller._trials_to_cache.update([completed, failed, runs])
    ray_internals.forget_ended_trials(controller)
    assert controller.get_trials() == [runs]
    assert controller._trials == [runs]
    assert controller._stopped_trials == controller._failed_trials == set()
    assert controller._trials_to_cache == {runs}


@pytest.mark.parametrize("kind", [OutOfMemoryError, ActorDiedError])
def test_tunes_manager_of_actors_takes_a_kill_for_memory_as_a_death(
    controller: Any, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, told, handled = controller._actor_manager, [], []
    parameters = inspect.signature(manager._actor_task_failed).parameters
    assert list(parameters) == ["tracked_actor_task", "exception"]

    def handle(tracked_actor_task: object, exception: Exception) -> None:
        handled.append((tracked_actor_task, isinstance(exception, RayActorError), list(told)))

    monkeypatch.setattr(manager, "_actor_task_failed", handle)
    ray_internals.treat_memory_kills_as_deaths(controller, told.append)
    error = OutOfMemoryError("7 GiB") if kind is OutOfMemoryError else ActorDiedError()
    manager._actor_task_failed("task", error)
    is_memory_kill = kind is OutOfMemoryError
    assert handled == [("task", True, [True] * is_memory_kill)]
    assert told == [True, False][not is_memory_kill :]


def test_tune_removes_placement_groups_by_a_function_that_can_be_replaced(controller: Any) -> None:
    manager = controller._actor_manager
    assert "self._resource_manager.free_resources(" in inspect.getsource(manager._cleanup_actor)
    parameters = inspect.signature(manager._resource_manager.free_resources).parameters
    assert list(parameters) == ["acquired_resource"]
    theirs = manager._resource_manager.free_resources
    made = ray_internals.free_resources_by(controller, lambda free: SimpleNamespace(free=free))
    assert made.free == theirs
    assert manager._resource_manager.free_resources is made


def test_ray_sets_its_handler_of_sigterm_by_a_function_that_can_be_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "ray._private.utils.set_sigterm_handler(" in inspect.getsource(worker.init)
    theirs, settings = utils.set_sigterm_handler, {}

    def init(**given: object) -> None:  # as Ray does
        settings.update(given)
        utils.set_sigterm_handler(lambda *_: None)

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    ray_internals.init(Path("/tmp/r"), num_cpus=1)
    assert signal.getsignal(signal.SIGTERM) is before
    assert utils.set_sigterm_handler is theirs
    assert settings == {"_temp_dir": "/tmp/r", "num_cpus": 1}


def test_worker_of_a_slot_is_what_tune_keeps_as_the_actor_of_its_trial() -> None:
    calls: list[str] = []
    trial = TuneTrial("slot", stub=True)
    assert trial.temporary_state.ray_actor is None
    trial.temporary_state.ray_actor = SimpleNamespace(assign=SimpleNamespace(remote=calls.append))
    ray_internals.assign(trial, "a segment")
    assert calls == ["a segment"]


def test_processes_of_ray_get_sessions_by_a_function_that_they_call_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = "ray._private.utils.set_kill_on_parent_death_linux()"
    assert called in inspect.getsource(services.start_ray_process)
    steps: list[str] = []
    monkeypatch.setattr(utils, "set_kill_on_parent_death_linux", lambda: steps.append("tied"))
    monkeypatch.setattr(os, "setsid", lambda: steps.append("session"))
    theirs = utils.set_kill_on_parent_death_linux
    monkeypatch.setattr(ray, "init", lambda: utils.set_kill_on_parent_death_linux())
    ray_internals.init()
    assert steps == ["tied", "session"]
    assert utils.set_kill_on_parent_death_linux is theirs


def test_ray_init_takes_a_folder_for_its_files() -> None:
    assert '"_temp_dir"' in inspect.getsource(worker.init)


def test_what_ray_logs_about_its_processes_can_be_silenced() -> None:
    assert services.logger.name == ray_internals.SERVICES_LOGGER
    level = services.logger.level
    with local_ray.no_api_server():
        assert not services.logger.isEnabledFor(logging.ERROR)
    assert services.logger.level == level


def test_address_of_a_head_is_in_the_file_that_ray_names(tmp_path: Path) -> None:
    assert Path(get_ray_address_file(str(tmp_path))) == tmp_path / ray_internals.CURRENT_CLUSTER


def test_program_is_the_one_that_ray_installs() -> None:
    (found,) = importlib.metadata.entry_points(group="console_scripts", name="ray")
    module, _, function = found.value.partition(":")
    assert f"from {module} import {function}; {function}()" == ray_internals.RAY_PROGRAM


def test_variables_that_ray_does_not_document_are_read_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    local_ray.close_environment()
    assert os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] == "0"
    assert ray_hook.VARIABLE == ray_constants.RAY_START_HOOK
    assert '"RAY_JOB_STOP_WAIT_TIME_S"' in inspect.getsource(job_supervisor)


def test_network_variables_are_settings_of_ray() -> None:
    code = "import ray; c = ray._config; print(c.grpc_client_keepalive_time_ms())"
    code += "; print(c.grpc_client_keepalive_timeout_ms(), c.health_check_period_ms())"
    own = dict(zip(ray_internals.NETWORK, ("11000", "12000", "13000"), strict=True))
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | own,
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout.split() == ["11000", "12000", "13000"]


def test_ray_starts_its_monitors_by_methods_that_can_be_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = Node.start_monitor, Node.start_log_monitor
    source = inspect.getsource(Node.start_head_processes) + inspect.getsource(
        Node.start_ray_processes
    )
    assert "self.start_monitor()" in source
    assert "self.start_log_monitor()" in source
    found = []
    monkeypatch.setattr(
        ray, "init", lambda **_: found.append((Node.start_monitor, Node.start_log_monitor))
    )
    ray_internals.init(Path("/tmp/r"), num_cpus=1)
    assert not set(found[0]) & set(theirs)
    assert (Node.start_monitor, Node.start_log_monitor) == theirs


def test_agents_start_without_what_serves_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = utils.get_dashboard_dependency_error
    found = []
    monkeypatch.setattr(ray, "init", lambda **_: found.append(utils.get_dashboard_dependency_error))
    ray_internals.init(Path("/tmp/r"), num_cpus=1)
    assert isinstance(found[0](), ImportError)
    assert utils.get_dashboard_dependency_error is theirs
    assert "utils.get_dashboard_dependency_error()" in inspect.getsource(services.start_raylet)


def test_tune_imports_no_other_tracker_to_count_callbacks() -> None:
    theirs = usage.tag_callbacks
    with ray_internals.no_usage_of_callbacks():
        assert usage.tag_callbacks([object()]) is False
    assert usage.tag_callbacks is theirs
    assert "air_usage.tag_callbacks(callbacks)" in inspect.getsource(ray.tune.tune.run)


def test_raylets_read_which_modules_their_workers_load_and_how_long_these_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (ray_internals.PRELOAD_VARIABLE, ray_internals.IDLE_VARIABLE)
    found = []
    monkeypatch.setattr(
        ray, "init", lambda **_: found.append(tuple(os.environ.get(name) for name in names))
    )
    ray_internals.init(Path("/tmp/r"), ("json", "csv"))
    ray_internals.init(Path("/tmp/r"))
    assert found == [("json,csv", "120000"), (None, None)]
    binary = Path(ray_constants.__file__).parent.parent.joinpath("_raylet.so").read_bytes()
    assert all(name.removeprefix("RAY_").encode() in binary for name in names)
    assert "worker-preload-modules" in inspect.getsource(default_worker)


def test_workers_of_a_local_ray_need_no_environment_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "remote", lambda trainable: ("plain", trainable))
    cache = _ActorClassCache()
    with ray_internals.plain_workers():
        assert cache.get(Trial) == ("plain", Trial)
    assert "_class_cache.get(" in inspect.getsource(tune_controller)
