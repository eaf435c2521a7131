"""`launch --json`: one document for programs that run studies."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from karat.cli import launch as launch_module
from karat.cli.exit_status import INTERRUPTED, OK, WRONG_INPUT
from karat.cli.studies.verdict import verdict
from tests.conftest import ROOT
from tests.journals import SEEDS, Plan, Script, study, write

RUNS: dict[str, Mapping[tuple[str, Any], tuple[float, ...]]] = {
    "complete": {
        ("softmax", None): (0.70, 0.71, 0.72, 0.70, 0.71),
        ("fourier", 1): (0.95,) * SEEDS,
    },
    "undecided": {
        ("softmax", None): (0.94, 0.96, 0.95, 0.97, 0.93),
        ("fourier", 1): (0.96, 0.94, 0.97, 0.93, 0.95),
    },
}


def small(word: str, **plan: Any) -> Script:
    return study(Plan(levels=(1,), sharings=("blockwise",), runs=RUNS.get(word, {}), **plan))


@pytest.mark.parametrize("word", ["complete", "undecided"])
def test_a_study_that_ended_says_whether_it_is_decided(word: str, tmp_path: Path) -> None:
    script = small(word)
    found = json.loads(
        json.dumps(verdict(script.state, tmp_path, OK, "python launch.py"), allow_nan=False)
    )
    assert (found["state"], found["exit_status"]) == (word, OK)
    assert bool(found["undecided"]) == (word == "undecided")
    arm = next(arm for arm in found["arms"] if not arm["is_reference"])
    assert arm["comparison"]["verdict"] == ("better" if word == "complete" else "inconclusive")
    assert {"difference", "low", "high", "p"} <= arm["comparison"].keys()
    assert "trials" not in found
    assert found["answer"]


def test_an_interrupted_study_is_unfinished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    found = verdict(small("", until="searching").state, tmp_path, INTERRUPTED, "python launch.py x")
    assert (found["state"], found["next"]) == ("unfinished", "python launch.py x")
    assert found["undecided"] == []
    assert found["paths"]["report"] is None


def test_a_study_without_an_answer_has_failed(tmp_path: Path) -> None:
    assert verdict(small("", fails=True).state, tmp_path, 1, "")["state"] == "failed"


def test_only_the_document_is_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "fourier-grid", small("complete"))

    def run(options: Any, *_: Any, console: Any) -> int:
        print("said by a library")
        console.print("progress")
        return OK

    monkeypatch.setattr("karat.cli.run.run_study", run)
    space = str(ROOT / "search_spaces" / "fourier_grid.yaml")
    assert launch_module.launch(["--space", space, "--storage", str(tmp_path), "--json"]) == OK
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["kind"], found["state"]) == ("verdict", "complete")
    assert found["paths"]["folder"] == str(tmp_path / "fourier-grid")
    assert "said by a library" in said.err
    assert "progress" in said.err


def test_wrong_input_leaves_stdout_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--space", str(tmp_path / "none.yaml"), "--json"]
    assert launch_module.launch(words) == WRONG_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
