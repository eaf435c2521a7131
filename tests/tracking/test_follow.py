"""With `tracking.follow: false` a study writes nothing to MLflow, and says how to do it."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from karat.cli import driver
from karat.errors import InputError
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.space.reader import load_space
from karat.study.audit import audit
from tests.launched import NO_MLFLOW

WriteSpace = Callable[..., Path]


def mlflow_of(space: Path, folder: Path) -> tuple[Any, str]:
    """What keeps MLflow up to date in a launch, and what is printed about it."""
    console = Console(file=io.StringIO(), width=200)
    study: Any = SimpleNamespace(space=load_space(space), folder=folder, listeners=[])
    return driver._mlflow(study, console), console.file.getvalue()  # type: ignore[attr-defined]


def test_a_study_starts_no_process_for_mlflow_and_says_how_to_fill_it(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    found, said = mlflow_of(write_space(NO_MLFLOW), tmp_path / "s")
    with found as started:
        assert started is None
    assert f"python -m karat sync {tmp_path / 's'}" in said


def test_by_default_mlflow_is_followed(write_space: WriteSpace, tmp_path: Path) -> None:
    found, said = mlflow_of(write_space(), tmp_path / "s")
    assert isinstance(found, driver.Supervisor)
    assert said == ""


def test_an_audit_leaves_out_mlflow(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load_space(write_space(NO_MLFLOW))
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    simulate(space, tmp_path / "s", 2, curves)
    asked = []
    monkeypatch.setattr("karat.study.audit.audit_runs", lambda *_: asked.append("MLflow") or [])
    audit(tmp_path / "s")
    assert asked == []


def test_a_value_that_is_neither_true_nor_false_is_refused(write_space: WriteSpace) -> None:
    with pytest.raises(InputError, match=r"tracking\.follow"):
        load_space(write_space(("confirm:", "tracking: {follow: maybe}\nconfirm:")))
