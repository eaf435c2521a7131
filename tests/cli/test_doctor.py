"""`python -m karat doctor` reports what is wrong and how to fix it."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.compose.secrets import make_secrets
from karat.cli import doctor
from karat.cli.exit_status import FAILED, OK, WRONG_INPUT
from karat.cli.main import main
from karat.execution import checks
from karat.system.checks import CheckFailed, examine


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Yield the address of a server that answers every request with 403."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403, "Invalid Host header")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:hidden-word@127.0.0.1:{server.server_port}"
        server.shutdown()


def test_healthy_machine_gets_one_line_for_each_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--storage", str(tmp_path / "studies")]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("versions", "gpus", "storage", "disk", "ports", "token", "mlflow")
    ]
    assert not list((tmp_path / "studies").iterdir())


def test_storage_that_cannot_be_written_fails_with_its_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--storage", "/proc/studies"]) == FAILED
    assert "FAILS  storage   /proc/studies cannot be written" in capsys.readouterr().out


def test_server_that_refuses_runs_fails_without_its_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent_server: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server)
    assert main(["doctor", "--storage", str(tmp_path)]) == FAILED
    said = capsys.readouterr().out
    assert "FAILS  mlflow" in said
    assert "403" in said
    assert "hidden-word" not in said


def test_database_that_takes_runs_is_written_to(tmp_path: Path) -> None:
    assert "accepts runs" in doctor.tracking(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_other_version_than_the_pinned_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = checks.importlib.metadata.version
    monkeypatch.setattr(
        checks.importlib.metadata, "version", lambda name: "1.0" if name == "ray" else real(name)
    )
    with pytest.raises(CheckFailed, match=r"^ray is 1.0, not 2\.\d+\.\d+: run `make`"):
        checks.versions()


def test_token_that_others_can_read_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    with pytest.raises(CheckFailed, match="contains no token"):
        checks.token()
    path.write_text("a" * 64)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    with pytest.raises(CheckFailed, match="chmod 600"):
        checks.token()
    path.chmod(0o600)
    assert "readable only by you" in checks.token()


def test_token_of_the_local_stack_is_safe_in_its_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "ray_token"))
    assert "in a folder that only you can open" in checks.token()
    folder.chmod(0o755)
    with pytest.raises(CheckFailed, match="other users can read"):
        checks.token()


def test_token_mounted_into_a_container_is_safe_if_nobody_inside_can_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ray_token"
    path.write_text("a" * 64)
    path.chmod(0o444)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.setattr(checks, "_CONTAINER_SECRETS", tmp_path)
    monkeypatch.setattr(checks.os, "access", lambda *_: False)  # root can write to every folder
    assert "mounted into this container" in checks.token()
    monkeypatch.setattr(checks.os, "access", lambda *_: True)
    with pytest.raises(CheckFailed, match="chmod 600"):
        checks.token()


def test_missing_gpus_and_full_disk_are_reported() -> None:
    with pytest.raises(CheckFailed, match="torch sees 0"):
        checks.gpus(1)
    with pytest.raises(CheckFailed, match="free some space"):
        checks.disk(Path.cwd(), 1e9)


def test_every_check_runs_even_if_earlier_ones_fail() -> None:
    def broken() -> str:
        raise OSError("no luck")

    found = examine([("first", broken), ("second", lambda: "fine")])
    assert [(each.ok, each.message) for each in found] == [(False, "no luck"), (True, "fine")]


def test_checking_a_cluster_needs_a_search_space(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--submit", "slurm"]) == WRONG_INPUT
    assert "--submit: needs --space" in capsys.readouterr().err
