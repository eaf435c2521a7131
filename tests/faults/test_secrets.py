"""Passwords and tokens for MLflow never appear on the terminal, on disk or in a process list."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from karat.study.audit import audit
from tests.conftest import ROOT
from tests.faults.mlflow_proxy import mlflow_proxy
from tests.faults.mlflow_server import mlflow_server
from tests.faults.test_ray import ours, wait_for_reports

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time

WriteSpace = Callable[..., Path]
SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": "SECRET-password",
    "MLFLOW_TRACKING_TOKEN": "SECRET-token",
    "AWS_SECRET_ACCESS_KEY": "SECRET-access-key",
    "AWS_SESSION_TOKEN": "SECRET-session-token",
}
MARKERS = (b"TOPSECRET", b"VE9QU0VDUkV", *(value.encode() for value in SECRETS.values()))
FEW = (("epochs: 4", "epochs: 3"), ("trials: 6", "trials: 4"))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder whose path is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def leaks_in(folder: Path) -> Iterator[str]:
    """Return the files that contain a secret; files that vanish during the search have none."""
    for path in (Path(parent, name) for parent, _, names in os.walk(folder) for name in names):
        try:
            if stat.S_ISREG(path.lstat().st_mode):
                content = path.read_bytes()
                yield from (f"{path}: {m.decode()}" for m in MARKERS if m in content)
        except FileNotFoundError:
            continue


def leaks_in_command_lines(folder: Path) -> Iterator[str]:
    for line in ours(folder):
        try:
            content = Path(f"/proc/{line.split()[0]}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, psutil.Error):
            continue
        yield from (f"{line}: {m.decode()}" for m in MARKERS if m in content)


def view_has_credentials(folder: Path) -> bool:
    """Whether the view's process runs and has the credentials that it may need for artifacts."""
    for line in ours(folder):
        try:
            environment = psutil.Process(int(line.split()[0])).environ()
        except psutil.Error:
            continue
        if " -m karat sync" in line and environment.items() >= SECRETS.items():
            return True
    return False


@pytest.mark.timeout(300)
def test_no_secret_in_any_output(
    write_space: WriteSpace, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, service = tmp_path / "studies", tmp_path / "service"
    service.mkdir()
    with mlflow_server(service) as server, mlflow_proxy(server.port) as proxy:
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        uri = f"http://user:TOPSECRET@127.0.0.1:{proxy.port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        proxy.mode = "echo"
        process = subprocess.Popen(
            [
                *(sys.executable, "launch.py", "--space", str(write_space(*FEW))),
                *("--storage", str(storage)),
            ],
            cwd=ROOT,
            env={**os.environ, "OF_TEST": str(tmp_path), "TMPDIR": str(temporary)},
            stdout=(tmp_path / "screen").open("wb"),
            stderr=subprocess.STDOUT,
        )
        found: set[str] = set()
        seen, given, log = False, False, storage / "small" / "sync.log"
        wait_for_reports(storage, 1, process)
        while process.poll() is None:
            given = given or view_has_credentials(tmp_path)
            seen = seen or any(temporary.glob("karat-*/r/session_latest/logs/*"))
            found |= {*leaks_in(temporary), *leaks_in_command_lines(tmp_path)}
            if log.is_file() and "fails, retrying" in log.read_text():
                proxy.mode = "healthy"
            time.sleep(0.3)
        assert process.returncode == 0, (tmp_path / "screen").read_text()
        assert seen, "Ray's folder was never looked at"
        assert given, "the view was not given its credentials"
        assert "You sent" in log.read_text()
        assert any(proxy.authorizations - {""}), "the secrets were never used"
        assert audit(storage / "small") == []
    found |= {*leaks_in(storage), *leaks_in(service), *leaks_in(tmp_path), *leaks_in(temporary)}
    assert not found, "\n".join(sorted(found))
