"""The database of MLflow lies where the storage is, whatever characters its path has."""

from pathlib import Path

import pytest
import sqlalchemy

from karat.tracking.client import sqlite_uri


@pytest.mark.parametrize("name", ["plain", "a b", "50%", "what?", "x#y", "größe 日本", "a?b%3F c"])
def test_the_database_is_the_file_of_that_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    engine = sqlalchemy.create_engine(sqlite_uri(folder / "mlflow.db"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table t (a)"))
    engine.dispose()
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
