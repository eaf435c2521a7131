"""`karat list`: every study in its row, whatever its journal is."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.main import main
from karat.cli.studies import list as listing
from karat.cli.studies.list import brief_answer
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.journal.journal import Journal, read_ends, read_events
from karat.journal.layout import JOURNAL, LOCK
from karat.journal.outcomes import is_final, planned_trials
from karat.journal.state import StudyState
from karat.planning.decisions import Decisions
from karat.report.answer import answer
from karat.report.facts.standing import standing_of
from karat.report.facts.summary import summarise
from karat.space.reader import load_space
from tests import journals
from tests.journals import Plan


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    for until in ("created", "searching", "confirming", "end"):
        journals.write(folder / until, journals.study(Plan(until=until)))
    later(folder / "later")
    (folder / "damaged").mkdir()
    lines = (folder / "end" / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b"reported", b"reporter").replace(b"asked", b"osked")
    (folder / "damaged" / JOURNAL).write_bytes(b"".join(lines))
    (folder / "not-begun").mkdir()
    (folder / "not-begun" / JOURNAL).touch()
    return folder


def later(folder: Path) -> None:
    """A study with an event that this version does not know."""
    script = journals.study(Plan(until="created"))
    script.add("moved_to_the_moon", by="rocket")
    journals.write(folder, script)


def rows(storage: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert main(["list", "--storage", str(storage), "--json"]) == OK
    return {each["study"]: each for each in json.loads(capsys.readouterr().out)["studies"]}


def test_every_study_has_a_row_with_its_state(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(storage, capsys)
    assert {name: row["state"] for name, row in found.items()} == {
        "created": "killed",
        "searching": "interrupted",
        "confirming": "killed",
        "end": "completed",
        "later": "unreadable",
        "damaged": "unreadable",
        "not-begun": "unreadable",
    }
    assert found["end"]["trials"]["confirm"] == {"planned": 25, "ended": 25}
    assert found["confirming"]["answer"] == "no answer yet: 15 of 25 confirmation runs have ended"
    assert found["searching"]["trials"]["search"] == {"planned": 36, "ended": 18}


def test_what_cannot_be_read_says_what_to_do(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(storage, capsys)
    assert "use that version" in found["later"]["problem"]
    assert "unknown kind 'moved_to_the_moon'" in found["later"]["problem"]
    assert f"karat repair {storage / 'damaged'}" in found["damaged"]["problem"]
    assert "no study was created" in found["not-begun"]["problem"]


def test_the_line_says_what_the_report_says(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = summarise(StudyState.of(read_events(storage / "end" / JOURNAL)))
    arm, row = summary.headline, rows(storage, capsys)["end"]
    assert arm is not None
    assert arm.comparison is not None
    assert row["headline"] == arm.label
    assert row["verdict"] == arm.comparison.verdict
    assert (row["difference"], row["low"]) == (arm.comparison.difference, arm.comparison.low)
    assert row["answer"].startswith(f"{arm.label} {arm.comparison.verdict}: +27.20 (")
    assert arm.label in answer(summary)


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan(until="confirming"),
        Plan(metric="val_loss"),
        Plan(fails=True),
        Plan(levels=(1, 3), matched={1: 0.7, 3: 0.8}, finals={1: 0.9, 3: 0.8}),
    ],
    ids=["end", "confirming", "loss", "failed", "matched"],
)
def test_an_overview_finds_what_all_events_say(tmp_path: Path, plan: Plan) -> None:
    path = journals.write(tmp_path / "study", journals.study(plan)) / JOURNAL
    whole, ends = StudyState.of(read_events(path)), StudyState.of(read_ends(path))
    assert plan.fails or len(list(read_ends(path))) < len(list(read_events(path))) / 2
    assert {n: t.status for n, t in ends.trials.items()} == {
        n: t.status for n, t in whole.trials.items()
    }
    one, other, summary = standing_of(ends), standing_of(whole), summarise(whole)
    assert brief_answer(one) == brief_answer(other)
    assert one.is_final == is_final(whole) == summary.is_final
    headline = one.headline
    if summary.is_final and summary.headline is not None:
        assert headline is not None
        assert headline.comparison == summary.headline.comparison
    if plan.matched:
        assert brief_answer(one).startswith("by grid_size: better at 1; ")


def test_an_overview_checks_every_line(tmp_path: Path) -> None:
    path = journals.write(tmp_path / "study", journals.study(Plan())) / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if b'"kind":"reported"' in line)
    lines[place] = lines[place].replace(b'"seconds":2.1', b'"seconds":9.1')
    path.write_bytes(b"".join(lines))
    with pytest.raises(Exception, match="checksum"):
        list(read_ends(path))
    text = lines[place].partition(b',"crc"')[0].replace(b'"seq":%d' % place, b'"seq":9999')
    lines[place] = text + b',"crc":"%08x"}\n' % zlib.crc32(text + b"}")
    path.write_bytes(b"".join(lines))
    with pytest.raises(Exception, match="lines are missing or doubled"):
        list(read_ends(path))


@pytest.mark.parametrize("confirm", ["budgets: [1, 2]", "shortlist: 2", "top_up: {most: 5}"])
def test_planned_trials_are_those_of_the_plan(
    tmp_path: Path, write_space: Any, confirm: str
) -> None:
    seeds = 3 if "top_up" in confirm else 2
    space = load_space(write_space(("seeds: 2", f"seeds: {seeds}, {confirm}")))
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    simulate(space, tmp_path / "small", 2, curves)
    decisions = Decisions(space, "here")
    for event in read_events(tmp_path / "small" / JOURNAL):
        decisions.observe(event)
        expected = {phase: count for phase, count in decisions.total_trials.items() if count}
        assert planned_trials(decisions.state) == expected, event


def test_a_running_study_is_running(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal.open(storage / "confirming"):
        assert rows(storage, capsys)["confirming"]["state"] == "running"


def test_a_study_of_another_machine_is_not_called_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = journals.write(tmp_path / "far", journals.study(Plan(until="created")))
    (folder / LOCK).write_text('{"host": "elsewhere", "pid": 7, "started": "x"}')
    assert rows(tmp_path, capsys)["far"]["state"] == "unknown"


def test_many_large_studies_are_read_by_several_processes(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rows(storage, capsys)
    monkeypatch.setattr(listing, "_MUCH", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert rows(storage, capsys) == one


@pytest.mark.parametrize("width", [80, 150])
def test_rows_fit_the_terminal(
    storage: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["list", "--storage", str(storage)]) == OK
    said = [line for line in capsys.readouterr().out.splitlines() if str(storage) not in line]
    assert max(map(len, said)) <= width
    assert sum("fourier grid_size=3 blockwise better" in line for line in said) == 1


def test_no_studies_is_no_error_and_a_missing_folder_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list"]) == OK
    assert "no studies yet" in capsys.readouterr().out
    assert main(["list", "--storage", "nowhere"]) == WRONG_INPUT
    assert "nowhere: no such folder" in capsys.readouterr().err
