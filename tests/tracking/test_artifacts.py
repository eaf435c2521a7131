"""A checkpoint is stored once where MLflow writes to the study's own disk, and uploaded elsewhere."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from karat.tracking.artifacts import local_path, log_unchanging


class Client:
    """MLflow's client, as far as it is needed; `sent` has what was copied or uploaded."""

    def __init__(self, uri: str) -> None:
        self.uri, self.sent = uri, list[tuple[str, str, str]]()

    def get_run(self, run: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=f"{self.uri}/{run}/artifacts"))

    def log_artifact(self, run: str, file: str, folder: str) -> None:
        self.sent.append((run, file, folder))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tested-00010.pt"
    path.write_bytes(b"weights")
    return path


def test_a_checkpoint_is_one_file_with_two_names(file: Path, tmp_path: Path) -> None:
    client = Client((tmp_path / "my runs").as_uri())
    for _ in range(2):  # as a second sync does
        log_unchanging(client, "r1", file, "checkpoints")
    kept = tmp_path / "my runs" / "r1" / "artifacts" / "checkpoints"
    assert [each.name for each in kept.iterdir()] == [file.name]
    assert (kept / file.name).samefile(file)
    assert [each.name for each in kept.parent.iterdir()] == ["checkpoints"]
    assert client.sent == []


def test_the_copy_of_mlflow_outlives_the_study_and_is_replaced_whole(
    file: Path, tmp_path: Path
) -> None:
    client = Client((tmp_path / "mlruns").as_uri())
    log_unchanging(client, "r1", file, "checkpoints")
    kept = tmp_path / "mlruns" / "r1" / "artifacts" / "checkpoints" / file.name
    file.unlink()
    assert kept.read_bytes() == b"weights"
    file.write_bytes(b"others")
    log_unchanging(client, "r1", file, "checkpoints")
    assert kept.read_bytes() == b"others"


@pytest.mark.parametrize("uri", ["mlflow-artifacts:/1", "s3://bucket/1", "file://elsewhere/x"])
def test_a_server_gets_an_upload(file: Path, uri: str) -> None:
    client = Client(uri)
    log_unchanging(client, "r1", file, "checkpoints")
    assert client.sent == [("r1", str(file), "checkpoints")]
    assert local_path(uri) is None


def test_another_disk_gets_a_copy(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "link", refuse)
    client = Client((tmp_path / "mlruns").as_uri())
    log_unchanging(client, "r1", file, "checkpoints")
    assert client.sent == [("r1", str(file), "checkpoints")]
