"""A SQLite database of MLflow is whole, or it is not there."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from karat.tracking import client
from karat.tracking.client import open_client, prepare_mlflow, sqlite_uri


@pytest.fixture
def database(tmp_path: Path) -> Path:
    prepare_mlflow()
    return tmp_path / "mlflow.db"


def test_a_process_that_ends_while_it_makes_the_tables_leaves_no_half_database(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: Any) -> sqlite3.Connection:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client.sqlite3, "connect", ends)
        with pytest.raises(KeyboardInterrupt):
            open_client(sqlite_uri(database))
    assert list(database.parent.iterdir()) == []
    assert open_client(sqlite_uri(database)).search_experiments()
    assert list(database.parent.iterdir()) == [database]


def test_of_two_that_make_a_database_at_once_the_second_takes_the_first_ones(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write_text("of another")
    exists = Path.exists  # not yet, when it was looked for
    monkeypatch.setattr(Path, "exists", lambda self: self != database and exists(self))
    client._make_database(sqlite_uri(database))
    assert database.read_text() == "of another"
