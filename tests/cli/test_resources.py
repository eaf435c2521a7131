"""Resources that this machine does not have are refused, not waited for."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from karat.cli import in_cluster
from karat.cli.driver import _most_slots
from karat.cli.exit_status import WRONG_INPUT
from karat.errors import InputError, SettingError
from karat.execution.local_ray import join_ray
from karat.forecast.capacity import check_probing, slots_of
from karat.space.settings import ResourceConfig
from tests.costs import finished

MORE_CPUS = max(64, len(os.sched_getaffinity(0)) + 1)
MORE_GPUS = torch.cuda.device_count() + 1


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (f"resources.cpus={MORE_CPUS}", f"resources.cpus = {MORE_CPUS}: this machine has"),
        (f"resources.gpus={MORE_GPUS}", f"resources.gpus = {MORE_GPUS}: this machine has"),
    ],
)
def test_resources_that_do_not_exist_are_refused_before_ray_is_loaded(
    write_space: Callable[..., Path], tmp_path: Path, assignment: str, message: str
) -> None:
    words = ["--space", str(write_space()), "--storage", str(tmp_path / "s"), "--set", assignment]
    found = finished("launch.py", *words)
    assert found.status == 2
    assert message in found.error
    assert len(found.error.splitlines()) == 1
    assert not {"ray", "mlflow"} & found.packages
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("{gpus: auto}", "resources.gpus = auto: .* no GPU; .* such as resources.gpus = 0.5"),
        ("{gpus: 1, probe: true}", "resources.probe = true: .* no GPU; leave resources.probe out"),
    ],
)
def test_driver_without_a_gpu_does_not_probe_for_the_gpus_of_its_cluster(
    write_space: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    resources: str,
    message: str,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    space = write_space(("confirm:", f"resources: {resources}\nconfirm:"))
    assert in_cluster.main(["--space", str(space), "--storage", str(tmp_path / "s")]) == WRONG_INPUT
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("settings", [{"gpus": 1}, {"probe": True}])
def test_driver_without_a_gpu_runs_a_study_that_is_not_probed_on_one(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_probing(ResourceConfig.from_settings(settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpus": 1.5}, r"resources.gpus = 1.5: must be a whole number, or a fraction below 1"),
        ({"gpus_per_trial": 2, "gpus": 2}, r"resources.gpus_per_trial: is an alias of gpus"),
        ({"gpus": 2, "processes": 4}, r"resources.processes = 4: must be one for each GPU"),
        ({"gpus": 0.5, "processes": 2}, r"resources.processes = 2: must be one for each GPU"),
        ({"gpus": "all"}, r"resources.gpus = 'all': must be"),
        ({"gpus": "auto", "probe": False}, r"resources.probe = false: must not be false"),
        ({"gpus": "auto", "processes": 2}, r"resources.processes = 2: must be one for each GPU"),
        ({"processes": 0}, r"resources.processes = 0: must be at least 1"),
    ],
)
def test_resources_that_do_not_go_together_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        ResourceConfig.from_settings(settings)


def test_each_gpu_of_a_trial_has_a_process_with_a_bundle_of_its_own(tmp_path: Path) -> None:
    resources = ResourceConfig.from_settings({"gpus_per_trial": 4, "cpus": 2})
    assert resources.num_processes == 4
    assert resources.bundles(4) == 4 * [{"CPU": 2.0, "GPU": 1.0}]
    assert ResourceConfig(gpus=0.25).bundles(0.25) == [{"CPU": 1.0, "GPU": 0.25}]
    assert ResourceConfig(processes=2).bundles(0) == 2 * [{"CPU": 1.0}]


def test_cluster_that_grows_may_have_no_room_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    head = {"Alive": True, "Resources": {"CPU": 0.0}}
    worker = {"Alive": True, "Resources": {"CPU": 2.0}}
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "nodes", lambda: [head])
    with pytest.raises(InputError, match="have no room for a trial of 1 processes"):
        join_ray("head:6379", ResourceConfig())
    assert join_ray("head:6379", ResourceConfig(), most_slots=8) == 0
    monkeypatch.setattr(ray, "nodes", lambda: [head, worker])
    assert join_ray("head:6379", ResourceConfig(), most_slots=8) == 2


def test_invalid_number_of_slots_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KARAT_MOST_SLOTS", raising=False)
    assert _most_slots() == 0
    monkeypatch.setenv("KARAT_MOST_SLOTS", "8")
    assert _most_slots() == 8
    monkeypatch.setenv("KARAT_MOST_SLOTS", "many")
    with pytest.raises(InputError, match="KARAT_MOST_SLOTS = 'many': must be a whole number"):
        _most_slots()


def test_processes_of_a_trial_take_their_cores_of_this_machine() -> None:
    cores = len(os.sched_getaffinity(0))
    assert slots_of(ResourceConfig(processes=cores)) == 1
    with pytest.raises(InputError, match=f"for each of {cores + 1} processes: this machine has"):
        slots_of(ResourceConfig(processes=cores + 1))
