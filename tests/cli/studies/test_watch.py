"""`karat watch`: read-only, as fast as the journal, and never longer than the study."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from karat.cli.main import main
from karat.cli.studies import watch
from karat.cli.studies.watch import Watched, _in_lines, _moments
from karat.cli.studies.watching.facts import rung_counts
from karat.cli.studies.watching.view import lines_of
from karat.cli.text.left import left_text
from karat.forecast.time_left import NOTHING_EXPECTED, time_left
from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from tests import journals
from tests.cli.conftest import Run
from tests.conftest import ROOT
from tests.journals import Plan


def test_it_shows_what_runs_and_why_a_trial_was_stopped(said: Run) -> None:
    text = said("watch", "running", "--once")
    assert "fourier-grid: running" in text
    assert "running  arm" in text
    assert "learning_rate 0.00" in text
    assert "stopped: early stopping at epoch 1, val_accuracy" in text
    assert " left" in text


def test_rungs_have_the_values_of_the_trials_there(studies: Path) -> None:
    watched = Watched(studies / "end")
    watched.read()
    rungs = [each for each in rung_counts(watched.state) if each.arm == "softmax"]
    assert [(each.epoch, each.trials) for each in rungs] == [(1, 4), (3, 2), (9, 2)]
    assert rungs[0].best < rungs[1].best < rungs[2].best


def test_only_new_events_are_read(tmp_path: Path) -> None:
    events = journals.study(Plan()).events
    times = iter([event.time for event in events])
    with Journal.open(tmp_path / "s", clock=lambda: next(times)) as journal:
        for event in events[:100]:
            journal.append(event.kind, **event.data)
        watched = Watched(tmp_path / "s")
        watched.read()
        state = watched.state
        for event in events[100:]:
            journal.append(event.kind, **event.data)
        news = watched.read()
        assert watched.state is state
        assert news[-1].kind == "study_ended"
        assert watched.read() == []
        assert watched.moment().activity == "completed"


def test_it_ends_when_the_study_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = journals.study(Plan()).events
    with Journal.open(tmp_path / "s") as journal:
        rest = iter(events)

        def work(_: float) -> None:
            for event in rest:
                journal.append(event.kind, **event.data)
                if event.kind in ("trial_ended", "study_ended"):
                    return

        for _ in range(30):
            work(0.0)
        monkeypatch.setattr(watch.time, "sleep", work)
        watched = Watched(tmp_path / "s")
        watched.read()
        _in_lines(watched)
    text = capsys.readouterr().out.splitlines()
    assert text[-1].endswith("completed")
    assert sum(line.startswith("trial ") for line in text) == 61 - 30


def test_it_ends_when_nobody_runs_the_study(said: Run) -> None:
    assert "killed; the command that launched it goes on" in said("watch", "confirming")


def test_ctrl_c_ends_the_watch_alone(
    studies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", pressed)
    assert main(["watch", "running", "--storage", str(studies)]) == 0
    assert "the watch has ended; the study goes on" in capsys.readouterr().out


def test_it_ends_when_its_reader_is_gone(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "lost_output", lambda: {"stdout": "Broken pipe"})
    watched = Watched(studies / "running")
    watched.read()
    assert len(list(_moments(watched))) == 1


@pytest.mark.parametrize("height", [24, 30, 60])
@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_is_not_overfull(
    studies: Path, monkeypatch: pytest.MonkeyPatch, height: int, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    watched = Watched(studies / "running")
    watched.read()
    lines = lines_of(watched.moment(), height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= columns
    assert any("running  arm" in line for line in lines)


def test_a_study_whose_journal_was_replaced_is_read_again(tmp_path: Path) -> None:
    folder = journals.write(tmp_path / "s", journals.study(Plan()))
    watched = Watched(folder)
    watched.read()
    (folder / JOURNAL).unlink()
    journals.write(folder, journals.study(Plan(until="searching"), seed=1))
    watched.read()
    assert watched.moment().activity == "interrupted"


def test_time_left_is_what_the_launch_says(
    studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StudyState.of(read_events(studies / "running" / JOURNAL))
    left = time_left(state, 2, NOTHING_EXPECTED)
    assert left is not None
    assert main(["watch", str(studies / "running"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds_left_low"] == left.low_s
    assert told["seconds_left"] == left.middle_s
    assert main(["watch", str(studies / "running"), "--once"]) == 0
    assert left_text(left) in capsys.readouterr().out


@pytest.fixture
def budgeted(tmp_path: Path) -> Iterator[Path]:
    script = journals.study(Plan(until="confirming"))
    script.events[0].data["space"]["budget"] = {"wall_hours": 2, "usd": 5}
    folder = journals.write(tmp_path / "s", script)
    with Journal.open(folder):
        yield folder


def test_the_budget_is_told_used_and_left(
    budgeted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(budgeted), "--json"]) == 0
    budget = json.loads(capsys.readouterr().out)["budget"]
    assert [each["limit"] for each in budget] == ["wall_hours", "usd"]
    assert main(["watch", str(budgeted), "--once"]) == 0
    assert "0.00 of 5 US $ used, 5.00 left" in capsys.readouterr().out


def test_commands_that_read_load_nothing_heavy(studies: Path) -> None:
    words = [
        ["list"],
        ["show", "end"],
        ["show", "end", "3"],
        ["best", "end"],
        ["compare", "end:softmax", "end:3"],
        ["watch", "end", "--once"],
    ]
    code = (
        "import sys\nfrom karat.cli.main import main\n"
        f"for words in {words!r}:\n"
        f"    assert main([*words, '--storage', {str(studies)!r}]) == 0, words\n"
        "heavy = {'torch', 'torchvision', 'timm', 'ray', 'mlflow', 'optuna', 'matplotlib', 'jinja2'}\n"
        "print(sorted(heavy & {each.split('.')[0] for each in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("redirection", ["| head -1", ">&-", ">/dev/full"])
def test_output_that_nobody_reads_is_no_error(studies: Path, redirection: str) -> None:
    command = f"{sys.executable} -m karat show end --storage {studies}"
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirection}; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
