"""Passwords and tokens for MLflow never appear on the terminal, on disk or in a process list."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from karat.journal.layout import SYNC_LOG
from karat.study.audit import audit
from tests.faults.mlflow_proxy import mlflow_proxy
from tests.faults.mlflow_server import mlflow_server
from tests.launched import Launch, processes_of

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
    for process in processes_of(folder):
        try:
            content = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield from (f"{process.pid}: {m.decode()}" for m in MARKERS if m in content)


def view_has_credentials(folder: Path) -> bool:
    """Whether the view's process runs and has the credentials that it may need for artifacts."""
    for process in processes_of(folder):
        try:
            environment, words = process.environ(), " ".join(process.cmdline())
        except psutil.Error:
            continue
        if " -m karat sync" in words and environment.items() >= SECRETS.items():
            return True
    return False


@pytest.mark.slow
def test_no_secret_in_any_output(
    launch: Launch,
    write_space: WriteSpace,
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, service = tmp_path / "studies", tmp_path / "service"
    service.mkdir()
    with mlflow_server(service) as server, mlflow_proxy(server.port) as proxy:
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        uri = f"http://user:TOPSECRET@127.0.0.1:{proxy.port}"
        proxy.mode = "echo"
        study = launch(write_space(*FEW), storage, MLFLOW_TRACKING_URI=uri, TMPDIR=str(temporary))
        found: set[str] = set()
        seen, given, log = False, False, study.folder / SYNC_LOG
        study.wait_for("reported")
        while study.process.poll() is None:
            given = given or view_has_credentials(tmp_path)
            seen = seen or any(temporary.glob("karat-*/r/session_latest/logs/*"))
            found |= {*leaks_in(temporary), *leaks_in_command_lines(tmp_path)}
            if log.is_file() and "fails, retrying" in log.read_text():
                proxy.mode = "healthy"
            time.sleep(0.3)
        screen = study.end()
        assert seen, "Ray's folder was never looked at"
        assert given, "the view was not given its credentials"
        assert "You sent" in log.read_text()
        assert any(proxy.authorizations - {""}), "the secrets were never used"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert audit(study.folder) == []
    found |= {*leaks_in(storage), *leaks_in(service), *leaks_in(tmp_path), *leaks_in(temporary)}
    found |= {f"screen: {m.decode()}" for m in MARKERS if m in screen.encode()}
    assert not found, "\n".join(sorted(found))
