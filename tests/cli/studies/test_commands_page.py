"""docs/commands.md lists the keys that the commands give, all of them, with their types."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from karat.cli import doctor
from karat.cli.main import COMMANDS, main
from karat.cli.web import mlflow_pages
from karat.journal.journal import Journal
from karat.tracking import sync
from karat.verification import training_again
from karat.verification.training_again import Reproduced
from tests import journals
from tests.conftest import ROOT
from tests.journals import Plan

PAGE = (ROOT / "docs" / "commands.md").read_text()
TYPES = {"text": str, "number": int | float, "truth value": bool, "list": list, "mapping": dict}
Keys = dict[str, str]


def documented(heading: str) -> Keys:
    """Key to type, of the tables in the part of the page below a heading."""
    part = re.split(r"^#+ ", PAGE.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found: Keys = {}
    for keys, kind in re.findall(r"^\| (`.*?`) \| ([^|]+) \|", part, re.MULTILINE):
        found |= {key.strip("` "): kind.strip() for key in keys.split(",")}
    if "facts of a study" in part:
        found |= documented("## The facts of a study")
    assert found, heading
    return found


def given(value: Any, known: Keys, at: str = "") -> Iterator[tuple[str, Any]]:
    """Each key of a document with its value; what the page calls a mapping or a list is one value."""
    if at in known or not isinstance(value, dict | list):
        yield at, value
    elif isinstance(value, list):
        for each in value:
            yield from given(each, known, f"{at}[]")
    else:
        for key, each in value.items():
            yield from given(each, known, f"{at}.{key}" if at else key)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("studies")
    for until in ("created", "searching", "confirming", "end"):
        journals.write(folder / until, journals.study(Plan(until=until)))
    running = journals.Script(journals.study(Plan(until="confirming")).events[:-3])
    running.events[0].data["space"]["budget"] = {"cpu_hours": 9}  # type: ignore[index]
    journals.write(folder / "running", running)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "journal.jsonl").write_text("rubbish\n")
    lines = (folder / "searching" / "journal.jsonl").read_bytes()
    (folder / "torn").mkdir()
    (folder / "torn" / "journal.jsonl").write_bytes(lines + b"rubbish\n")
    with Journal.open(folder / "running"):
        yield folder


CASES = {
    "list": [["list"]],
    "show": [["show", name] for name in ("created", "searching", "running", "end")],
    "trial": [["show", "end", str(number)] for number in (0, 7, 20, 50)],
    "best": [["best", "searching"], ["best", "end"]],
    "compare": [
        ["compare", "end", "confirming"],
        ["compare", "end:softmax", "end:fourier grid_size=3 blockwise"],
        ["compare", "end:3", "confirming:40"],
    ],
    "watch": [["watch", name] for name in ("created", "searching", "running", "end")],
    "report": [["report", "end"]],
    "audit": [["audit", "end", "--no-tracking"]],
    "repair": [["repair", "created"], ["repair", "torn"]],
    "delete": [["delete", "damaged", "--yes", "--keep-mlflow"]],
}


@pytest.mark.parametrize("kind", CASES)
def test_the_page_has_the_keys_that_are_given(
    kind: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [[*each, "--storage", str(storage)] for each in CASES[kind]]
    compare_with_page(kind, words, capsys)


def test_the_page_has_the_keys_of_commands_without_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "checks_here", lambda *_, **__: [("a", lambda: "there")])
    compare_with_page("doctor", [["doctor", "--storage", str(tmp_path)]], capsys)
    costs = ["costs", "vit_tiny", "--basis", "fourier", "--grid-size", "3"]
    compare_with_page("costs", [costs], capsys)


def test_sync_gives_the_keys_of_the_page(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "run_sync", lambda *_, **__: 0)  # takes seconds; has its own tests
    monkeypatch.setattr(mlflow_pages, "experiment_of", lambda *_: "7")
    compare_with_page("sync", [["sync", "end", "--storage", str(storage)]], capsys)


def test_reproduce_gives_the_keys_of_the_page(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Reproduced(trial=3, epochs=2, metrics=8, first="epoch 2: val_loss", elsewhere=["cpu"])
    monkeypatch.setattr(training_again, "reproduce", lambda *_: found)
    compare_with_page("reproduce", [["reproduce", "end", "3", "--storage", str(storage)]], capsys)


def compare_with_page(
    kind: str, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    known, seen = documented(f"### Document `{kind}`"), set[str]()
    for words in commands:
        main([*words, "--json"])
        told = json.loads(capsys.readouterr().out)
        assert (told.pop("kind"), told.pop("schema")) == (kind, 1)
        for key, value in given(told, known):
            if value in ([], {}) and any(each.startswith(f"{key}[") for each in known):
                continue  # an empty list of what is documented
            assert key in known, f"{key} = {value!r} of {words} is not on the page"
            kinds = known[key].split(" or ")
            fits = value is None and "null" in kinds
            fits = fits or any(isinstance(value, TYPES[each]) for each in kinds if each in TYPES)
            assert fits, f"{key} = {value!r} is not {known[key]}"
            seen.add(key)
    assert not known.keys() - seen, "documented, and never given"


@pytest.mark.parametrize("kind", ["verify", "replay"])
def test_checks_with_other_needs_are_on_the_page(kind: str) -> None:
    """Their synthetic studies have no images and no whole space; all have the keys of a check."""
    assert {"folder", "ok", "findings"} <= documented(f"### Document `{kind}`").keys()


def test_every_command_on_a_study_is_on_the_page() -> None:
    here = {name for name, (_, place) in COMMANDS.items() if place.startswith("studies.")}
    assert not {name for name in here if f"`{name}" not in PAGE and f"## {name}" not in PAGE}
