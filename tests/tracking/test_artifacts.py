"""A checkpoint is stored once where MLflow writes to the study's own disk, and uploaded elsewhere."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from karat.journal.layout import ANALYSES, CHAPTER
from karat.tracking.artifacts import drop_others, local_path, log_unchanging
from karat.tracking.results.analyses import log_analyses


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


class Store:
    """MLflow's client over a folder, without a database."""

    tracking_uri = "unused"

    def __init__(self, root: Path) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.root, self.store = root, get_artifact_repository(root.as_uri())

    def get_run(self, run: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=self.root.as_uri()))

    def log_artifact(self, run: str, file: str, folder: str) -> None:
        self.store.log_artifact(file, folder)

    def log_batch(self, run: str, metrics: object) -> None:
        pass

    def list_artifacts(self, run: str, folder: str) -> Any:
        return self.store.list_artifacts(folder)


def test_pictures_of_an_earlier_chapter_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    study, root = tmp_path / "study", tmp_path / "artifacts"
    client = Store(root)
    (root / "figures").mkdir(parents=True)
    (root / "figures" / "a.svg").touch()

    def show(**pictures: list[str]) -> set[str]:
        shutil.rmtree(study, ignore_errors=True)
        for analysis, names in pictures.items():
            for name in names:
                file = study / ANALYSES / analysis / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        parts = [{"analysis": name, "numbers": []} for name in pictures]
        (study / ANALYSES / CHAPTER).write_text(json.dumps({"parts": parts}))
        log_analyses(client, "r1", study, {})
        return {each.name for each in root.rglob("*") if each.is_file()} - {CHAPTER}

    assert show(spectra=["one.svg", "two.svg"], paths=["p.png"]) == {
        *("one.svg", "two.svg", "p.png", "a.svg")
    }
    assert show(spectra=["one.svg"]) == {"one.svg", "a.svg"}


def test_store_that_cannot_delete_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = Store(tmp_path)
    (tmp_path / "analyses").mkdir()
    (tmp_path / "analyses" / "old.svg").touch()

    def refuse(*_: object) -> None:
        raise NotImplementedError("not here")

    monkeypatch.setattr(type(client.store), "delete_artifacts", refuse)
    drop_others(client, "r1", "analyses", set())
    assert "r1 still shows analyses/old.svg" in caplog.text
    assert "(not here)" in caplog.text
