"""`karat compare`: no verdict where none was planned, and no pairs where seeds differ."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from karat.cli.main import main
from karat.cli.studies.compare import same_data
from karat.cli.studies.comparing.sides import side_of
from karat.report.facts.summary import summarise
from tests import journals
from tests.cli.conftest import Run
from tests.journals import Plan

BEST = "fourier grid_size=3 blockwise"


def compared(said: Run, one: str, other: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(said("compare", one, other, "--json"))
    return told


def test_a_planned_comparison_is_that_of_the_report(said: Run) -> None:
    summary = summarise(journals.study(Plan()).state)
    arm = next(each for each in summary.arms if each.label == BEST)
    assert arm.comparison is not None
    told = compared(said, f"end:{BEST}", "end:softmax")["paired"]
    assert told["is_planned"]
    assert told["verdict"] == arm.comparison.verdict == "better"
    assert (told["difference"], told["low"]) == (arm.comparison.difference, arm.comparison.low)
    other = compared(said, "end:softmax", f"end:{BEST}")["paired"]
    assert (other["verdict"], other["difference"]) == ("worse", -told["difference"])
    assert "as the study planned to ask" in said("compare", f"end:{BEST}", "end:softmax")


def test_an_unplanned_look_has_an_interval_and_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, noise in (("one", 0.006), ("two", 0.01)):
        journals.write(tmp_path / name, journals.study(Plan(noise=noise)))
    words = ["compare", f"one:{BEST}", f"two:{BEST}", "--storage", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["paired"]
    assert (told["is_planned"], told["verdict"], told["p_holm"], told["n"]) == (
        False,
        None,
        None,
        5,
    )
    assert told["low"] < told["difference"] < told["high"]
    assert main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "This is an unplanned look" in text
    assert not [word for word in ("better", "worse", "equivalent", "inconclusive") if word in text]


def test_an_open_confirmation_gives_no_difference(said: Run) -> None:
    told = compared(said, f"confirming:{BEST}", "confirming:softmax")["paired"]
    assert (told["missing"], told["difference"]) == ("open", None)


def test_trials_are_compared_without_an_interval(said: Run) -> None:
    told = compared(said, "end:40", "end:37")
    assert told["settings"]["attention.grid_size"] == [7, 1] or told["settings"]
    assert told["paired"]["low"] is None
    assert [each["runs"] for each in told["values"]] == [1, 1]


def test_other_images_are_not_compared(tmp_path: Path, studies: Path) -> None:
    script = journals.study(Plan())
    script.events[0].data["data"]["fingerprint"] = "cd" * 32
    journals.write(tmp_path / "other", script)
    one, other = side_of("end", studies), side_of("other", tmp_path)
    assert not same_data(one, other)


def test_two_studies_show_arms_and_costs_of_both(said: Run) -> None:
    told = compared(said, "end", "confirming")
    assert [arm["test"][1] for arm in told["arms"]] == [None] * 5, "it has not ended"
    assert told["costs"][0]["trials"] == 61
    assert told["settings"] == {}


def test_a_folder_with_a_colon_is_a_study(tmp_path: Path, studies: Path) -> None:
    shutil.copytree(studies / "end", tmp_path / "a:3")
    assert side_of(str(tmp_path / "a:3"), studies).kind == "study"
    assert side_of(f"{tmp_path / 'a:3'}:3", studies).kind == "trial"


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("end:softmx", "end:3", "did you mean 'softmax'?"),
        ("end:99", "end:3", "there is no trial 99"),
        ("nd:3", "end:3", "did you mean 'end'?"),
        ("end", "end:3", "compare two studies, or arms and trials"),
    ],
)
def test_wrong_sides_are_refused(said: Run, one: str, other: str, message: str) -> None:
    text = said("compare", one, other, status=2)
    assert message in text
    assert text.count("\n") == 1
