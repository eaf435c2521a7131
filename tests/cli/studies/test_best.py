"""`karat best`: a configuration that a space takes, and no claim."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from karat.cli.main import main
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.space.reader import load_space
from karat.tracking.models.tested_model import best_confirmed
from tests import journals
from tests.cli.conftest import Run
from tests.journals import Plan


def test_it_is_the_registered_trial_and_says_that_it_is_no_claim(said: Run) -> None:
    best = best_confirmed(journals.study(Plan()).state)
    assert best is not None
    told = json.loads(said("best", "end", "--json"))
    assert (told["trial"], told["is_confirmed"]) == (best[0].number, True)
    text = " ".join(said("best", "end").replace("# ", " ").split())
    assert f"the best of 5 seeds of {best[0].arm}, the arm that the answer is about" in text
    assert "The value of a single best seed is no claim" in text
    assert "mean test_accuracy of its 5 seeds" in text
    assert "missing: deleted since" in text


def test_before_the_confirmation_it_is_the_best_of_the_search(said: Run) -> None:
    told = json.loads(said("best", "searching", "--json"))
    assert (told["is_confirmed"], told["test"]) == (False, None)
    assert "nothing is confirmed yet" in told["why"]
    so_far = json.loads(said("best", "confirming", "--json"))["why"]
    assert "the arm that did best in the search so far; the study has not ended" in so_far


def test_without_a_completed_trial_there_is_none(said: Run) -> None:
    assert "no trial has been completed" in said("best", "created", status=1)


def test_what_it_prints_is_yaml_that_a_space_takes(
    tmp_path: Path, write_space: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    space = load_space(write_space())
    simulate(space, tmp_path / "small", 2, ModelledCurves(0, dict.fromkeys(space.arms, 1.0)))
    assert main(["best", str(tmp_path / "small")]) == 0
    text = capsys.readouterr().out
    sections = yaml.safe_load(text)
    assert list(sections) == ["data", "model", "attention", "training"]
    rest = (
        "study: again\nquestion: Is it?\nreference: {training.label_smoothing: 0.0}\n"
        "factors: {training.label_smoothing: [0.0, 0.1]}\n"
        "search: {sampler: random, trials: 4}\n"
        "tuned: {training.weight_decay: {low: 0.01, high: 0.1}}\n"
    )
    (tmp_path / "again.yaml").write_text(rest + text)
    arms = load_space(tmp_path / "again.yaml").arms.values()
    rate = sections["training"]["learning_rate"]
    assert {arm.sections["training"]["learning_rate"] for arm in arms} == {rate}
