import os
from pathlib import Path

import pytest

from karat.cli.tracking_place import resolve_tracking_uri


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        ("sqlite:///runs/mlflow.db", "sqlite:///{here}/runs/mlflow.db"),
        ("sqlite:///größe 50%/m.db?timeout=5", "sqlite:///{here}/größe 50%/m.db?timeout=5"),
        ("mlruns", "{here}/mlruns"),
        ("sqlite:////abs/m.db", "sqlite:////abs/m.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("http://server:5000", "http://server:5000"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("databricks", "databricks"),
    ],
)
def test_a_relative_tracking_uri_is_resolved_once_from_the_launchers_folder(
    given: str, resolved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"MLFLOW_TRACKING_URI": given}
    resolve_tracking_uri(environment)
    monkeypatch.chdir(os.sep)
    resolve_tracking_uri(environment)
    assert environment["MLFLOW_TRACKING_URI"] == resolved.format(here=tmp_path)
