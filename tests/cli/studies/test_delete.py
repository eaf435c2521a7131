"""`karat delete`: nothing is deleted unasked, and nothing half-deleted is silent."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.cli.exit_status import FAILED, OK, WRONG_INPUT
from karat.cli.main import main
from karat.cli.studies import delete
from karat.journal.journal import Journal
from karat.journal.layout import JOURNAL
from karat.tracking.client import open_client, prepare_mlflow
from karat.tracking.runs import UID_TAG
from tests import journals
from tests.journals import Plan

NAME, UID = "fourier-grid", "0f3c"  # of the synthetic studies

pytestmark = pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # from MLflow


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage folder with one study, which MLflow does not know."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = journals.write(tmp_path / NAME, journals.study(Plan(until="created")))
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0000" / "tested-00010.pt").write_bytes(b"x" * 1000)
    return tmp_path


def run(storage: Path, *words: str) -> int:
    return main(["delete", *words, "--storage", str(storage)])


def test_without_a_terminal_and_without_yes_it_refuses(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(storage, NAME) == WRONG_INPUT
    said = capsys.readouterr()
    assert "there is no terminal to ask in; --yes deletes without a question" in said.err
    assert str(storage / NAME) in said.out
    assert (storage / NAME / JOURNAL).exists()


@pytest.mark.parametrize(("typed", "status"), [("y\n", OK), ("\n", FAILED), ("", FAILED)])
def test_only_a_yes_deletes(
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    status: int,
) -> None:
    class Terminal:
        isatty, readline = (lambda self: True), (lambda self: typed)

    monkeypatch.setattr("sys.stdin", Terminal())
    assert run(storage, NAME) == status
    assert (storage / NAME).exists() == (status != OK)
    assert ("nothing was deleted" in capsys.readouterr().err) == (status != OK)


def test_a_study_that_runs_is_refused(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal.open(storage / NAME):
        assert run(storage, NAME, "--yes") == FAILED
    assert "A study that runs is not deleted" in capsys.readouterr().err
    assert (storage / NAME / JOURNAL).exists()


def test_a_symbolic_link_is_refused(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (storage / "precious").mkdir()
    (storage / NAME / "trials" / "0001").symlink_to(storage / "precious")
    assert run(storage, NAME, "--yes") == WRONG_INPUT
    assert "is a symbolic link" in capsys.readouterr().err
    assert (storage / NAME / JOURNAL).exists()


def test_the_journal_goes_last(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(shutil, "rmtree", full)
    assert run(storage, NAME, "--yes") == FAILED
    assert (storage / NAME / JOURNAL).exists()
    monkeypatch.undo()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run(storage, NAME, "--yes") == OK
    assert not (storage / NAME).exists()


def test_a_damaged_journal_can_be_deleted_if_mlflow_is_left_alone(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (storage / NAME / JOURNAL).write_text("rubbish\n")
    assert run(storage, NAME, "--yes") == FAILED
    assert "--keep-mlflow deletes the folder alone" in capsys.readouterr().err
    assert run(storage, NAME, "--yes", "--keep-mlflow") == OK


@pytest.fixture
def client(storage: Path, empty_database: Path) -> Any:
    """MLflow has two runs and a model of the study, and a run of another one of the same name."""
    from mlflow.entities import RunTag

    shutil.copy(empty_database, storage / "mlflow.db")
    prepare_mlflow()
    client = open_client(f"sqlite:///{storage / 'mlflow.db'}")
    place = storage / "mlruns" / NAME
    experiment = client.create_experiment(NAME, artifact_location=place.as_uri())
    for uid in (UID, UID, "another"):
        run = client.create_run(experiment, tags={UID_TAG: uid})
        (place / run.info.run_id).mkdir(parents=True)
        (place / run.info.run_id / "weights.pt").write_bytes(b"x" * 1000)
        client.log_batch(run.info.run_id, tags=[RunTag("kept", "yes")])
    client.create_registered_model(NAME)
    client.create_model_version(NAME, place.as_uri(), tags={UID_TAG: UID})
    return client


def test_only_what_is_of_the_study_goes_from_mlflow(
    storage: Path, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(storage, NAME, "--yes", "--json") == OK
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["model_versions"], told["experiment"]) == (2, 1, False)
    left = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    assert [run.data.tags[UID_TAG] for run in left] == ["another"]
    kept = [path.name for path in (storage / "mlruns" / NAME).iterdir()]
    assert kept == [left[0].info.run_id]
    assert client.search_registered_models() == []
    assert not (storage / NAME).exists()


def test_a_name_only_in_mlflow_is_told_and_can_be_deleted(
    storage: Path, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(storage / NAME)
    assert run(storage, NAME, "--yes") == WRONG_INPUT
    said = capsys.readouterr().err
    assert "MLflow has 3 runs of a study of this name; --from-mlflow deletes them" in said
    assert run(storage, NAME, "--yes", "--from-mlflow") == OK
    assert client.get_experiment_by_name(NAME) is None, "the name is free for a new study"
    assert not (storage / "mlruns" / NAME).exists()
    assert run(storage, NAME, "--yes", "--from-mlflow") == WRONG_INPUT


def test_mlflow_away_deletes_nothing(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(storage, NAME, "--yes") == FAILED
    said = capsys.readouterr().err
    assert "MLflow at http://127.0.0.1:9 could not be read; nothing was deleted" in said
    assert "(nothing answers there)" in said
    assert "--keep-mlflow deletes the folder alone" in said
    assert (storage / NAME / JOURNAL).exists()
    assert run(storage, NAME, "--yes", "--keep-mlflow") == OK


def test_mlflow_that_fails_midway_says_what_is_gone(
    storage: Path, client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    calls: list[str] = []
    real: Callable[..., None] = MlflowClient.delete_run

    def once(self: Any, run_id: str) -> None:
        calls.append(run_id)
        if len(calls) > 1:
            raise ConnectionError("gone")
        real(self, run_id)

    monkeypatch.setattr(MlflowClient, "delete_run", once)
    assert run(storage, NAME, "--yes") == FAILED
    said = capsys.readouterr().err
    assert "Deleted there before: version 1 of the model, 1 of 2 runs" in said
    assert (storage / NAME / JOURNAL).exists()
    calls.clear()
    assert run(storage, NAME, "--yes") == OK
    assert len(calls) == 1
    assert len([*(storage / "mlruns" / NAME).iterdir()]) == 1, "files of runs deleted before go too"


def test_the_size_is_shown_before(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert delete._size(storage / NAME) > 1000
    assert run(storage, NAME, "--yes") == OK
    said = capsys.readouterr().out
    assert "MLflow  has nothing of it" in said
    assert "next:  python -m karat list" in said
