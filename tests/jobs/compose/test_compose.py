"""docker-compose.yml: valid, closed, patient; and what is read from it without an engine."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.compose import secrets
from jobs.compose.secrets import COMPOSE, make_secrets
from karat import __version__
from karat.execution.ray_internals import NETWORK
from tests.conftest import ROOT
from tests.jobs.compose.compose_file import filled, read_services

DATA: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DATA["services"]


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is missing")
def test_debians_docker_compose_takes_the_file() -> None:
    done = subprocess.run(
        ["docker-compose", "-f", str(COMPOSE), "--env-file", str(ROOT / ".env.example"), "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) >= set(SERVICES) - {"launcher"}


def test_ports_are_published_on_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_unprivileged_and_patient(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+\.\d+", service["image"])
    assert service["user"] not in ("root", "0", "0:0")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    if service["restart"] != "no":
        assert "healthcheck" in service
        assert "stop_grace_period" in service
    for condition in service.get("depends_on", {}).values():
        assert condition["condition"] != "service_started"


def test_ray_has_shared_memory_a_token_no_idle_processes_and_time_for_stopped_jobs() -> None:
    for name in ("ray-head", "ray-worker"):
        service = SERVICES[name]
        assert service["shm_size"]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"].items() >= NETWORK.items()
    assert SERVICES["ray-worker"]["environment"]["RAY_prestart_worker_first_driver"] == "0"
    assert int(SERVICES["ray-head"]["environment"]["RAY_JOB_STOP_WAIT_TIME_S"]) >= 140


def test_no_secret_stands_in_the_file_or_in_the_environment() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|^PGPASS__", key):
                assert str(value).startswith("/run/secrets"), f"{name}: {key}"
        for secret in re.findall(r"/run/secrets/(\w+)", json.dumps(service.get("environment", {}))):
            assert secret in service["secrets"], f"{name}: {secret}"
    assert all(set(secret) == {"file"} for secret in DATA["secrets"].values())


def test_images_version_is_the_packages() -> None:
    assert SERVICES["mlflow"]["image"] == f"karat:{__version__}"


def test_mlflow_answers_to_the_name_that_others_call() -> None:
    services = read_services(COMPOSE, {})
    hosts = services["mlflow"].environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert services["ray-head"].environment["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert "mlflow:5000" in hosts


def test_services_come_in_the_order_in_which_they_start() -> None:
    order = list(read_services(COMPOSE, {}))
    expected = ["postgres", "mlflow", "mlflow-user", "ray-head"]
    assert [name for name in order if name in expected] == expected


def test_variables_are_filled_in_as_compose_does() -> None:
    assert filled("${A:-1}:${B:-2} $$x", {"B": "3"}) == "1:3 $x"
    with pytest.raises(KeyError):
        filled("${A}", {})


def test_secrets_are_made_once_and_closed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = make_secrets(folder)
    assert {path.name for path in made} == set(DATA["secrets"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    texts = [path.read_text() for path in made]
    assert len(set(texts)) == len(texts)
    assert min(map(len, texts)) >= 32
    assert make_secrets(folder) == []
    assert [path.read_text() for path in made] == texts


def test_installed_karat_has_no_stack_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(secrets, "COMPOSE", tmp_path / "docker-compose.yml")
    monkeypatch.setattr(sys, "argv", ["secrets", "--folder", str(tmp_path / "secrets")])
    with pytest.raises(SystemExit):
        secrets.main()
    assert "built from a checkout of karat" in capsys.readouterr().err
    assert not (tmp_path / "secrets").exists()


def test_command_gets_its_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first\n")
    (tmp_path / "two").write_text("second")
    environment = {
        "FILE__PASSWORD": str(tmp_path / "one"),
        "PGPASS__mlflow": str(tmp_path / "two"),
        "PGPASSFILE": str(tmp_path / "pgpass"),
    }
    script = [sys.executable, str(ROOT / "docker" / "with_secrets.py")]
    code = "import os; print(os.environ['PASSWORD'])"
    done = subprocess.run(
        [*script, sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "first\n"
    assert (tmp_path / "pgpass").read_text() == "*:*:*:mlflow:second\n"
    assert stat.S_IMODE((tmp_path / "pgpass").stat().st_mode) == 0o600
    (tmp_path / "one").write_text("")
    done = subprocess.run(
        [*script, "true"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "one: is empty" in done.stderr
