"""The view process starts when there is something to show, is restarted, and never stops training."""

import io
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.tracking import supervisor
from karat.tracking.supervisor import Supervisor
from tests.waiting import wait_until

FOLLOW = "open('started', 'a').write('x'); import sys; sys.stdin.read()"  # until stdin closes
FAIL_ONCE = "import os, sys; os.path.exists('once') or (open('once', 'w'), sys.exit(3)); "


def use_view(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Replace the view by Python code, run in the study's folder."""

    def command(folder: Path) -> list[str]:
        return [sys.executable, "-S", "-c", f"import os; os.chdir({str(folder)!r}); {code}"]

    monkeypatch.setattr(supervisor, "view_command", command)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "START_AFTER_S", 3600.0)
    monkeypatch.setattr(supervisor, "_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.01)
    use_view(monkeypatch, FOLLOW)


def send(own: Supervisor, kind: str) -> None:
    own.on_event(Event(0, 0.0, kind, {}), StudyState())


def starts(folder: Path) -> int:
    path = folder / "started"
    return len(path.read_text()) if path.exists() else 0


def make(folder: Path) -> tuple[Supervisor, io.StringIO]:
    said = io.StringIO()
    return Supervisor(folder, Console(file=said, width=300)), said


@pytest.mark.parametrize("kind", ["reported", "trial_ended"])
def test_view_starts_with_the_first_report_or_end_of_a_trial(kind: str, tmp_path: Path) -> None:
    own, said = make(tmp_path)
    with own:
        send(own, "launched")
        send(own, "segment_started")
        time.sleep(0.2)
        assert starts(tmp_path) == 0
        send(own, kind)
        wait_until(lambda: starts(tmp_path) == 1, "a view")
    assert (starts(tmp_path), said.getvalue()) == (1, "")


def test_view_starts_a_while_after_the_first_segment_though_nothing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_AFTER_S", 0.05)
    own, _ = make(tmp_path)
    with own:
        send(own, "launched")
        time.sleep(0.2)
        assert starts(tmp_path) == 0
        send(own, "segment_started")
        wait_until(lambda: starts(tmp_path) == 1, "a view")


def test_view_that_was_never_due_starts_when_the_launch_ends(tmp_path: Path) -> None:
    own, said = make(tmp_path)
    with own:
        pass
    assert (starts(tmp_path), said.getvalue()) == (1, "")


def test_view_that_exits_is_logged_and_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_view(monkeypatch, FAIL_ONCE + FOLLOW)
    own, said = make(tmp_path)
    with own:
        send(own, "reported")
        wait_until(lambda: starts(tmp_path) == 1, "a view")
    assert said.getvalue() == ""
    assert f"exited with status 3 (see {tmp_path / 'sync.log'})" in caplog.text


def test_pause_before_each_new_start_is_twice_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE_S", 0.04)
    own, pauses = Supervisor(tmp_path, Console(quiet=True)), []
    monkeypatch.setattr(own, "_start", lambda: False)

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            own._closing.set()

    monkeypatch.setattr(own._closing, "wait", wait)
    send(own, "reported")
    own._keep()
    assert pauses == [0.01, 0.02, 0.04, 0.04]


def test_view_that_had_failed_is_started_once_more_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_PAUSE_S", 3600.0)
    use_view(monkeypatch, FAIL_ONCE + FOLLOW)
    own, said = make(tmp_path)
    with own:
        send(own, "reported")
        wait_until(lambda: "exited with status 3" in caplog.text, "a line of the log")
    assert (starts(tmp_path), said.getvalue()) == (1, "")


def test_supervisor_reports_that_mlflow_is_behind_and_how_to_catch_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_view(monkeypatch, "import sys; sys.exit(1)")
    own, said = make(tmp_path)
    with own:
        send(own, "reported")
    assert "MLflow is behind" in said.getvalue()
    assert f"python -m karat sync {tmp_path}" in said.getvalue()


@pytest.mark.parametrize("what", ["no program", "no log"])
def test_view_that_cannot_be_started_does_not_stop_training(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if what == "no program":
        monkeypatch.setattr(supervisor, "view_command", lambda folder: [str(folder / "nothing")])
    else:
        (tmp_path / "sync.log").mkdir()
    own, said = make(tmp_path)
    with own:
        send(own, "reported")
        wait_until(lambda: caplog.text.count("cannot be started") > 1, "two lines of the log")
    assert "MLflow is behind" in said.getvalue()


@pytest.mark.parametrize(
    ("code", "behind"),
    [
        ("import sys, time\nsys.stdin.read()\nwhile time.process_time() < 1.5: pass", False),
        ("import time; time.sleep(600)", True),
    ],
)
def test_at_the_end_a_view_that_works_is_waited_for_and_one_that_does_nothing_is_killed(
    code: str, behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PATIENCE_S", 1.0)
    monkeypatch.setattr(supervisor, "_WORKING_S", 0.02)
    use_view(monkeypatch, code)
    own, said = make(tmp_path)
    with own:
        send(own, "reported")
    assert ("MLflow is behind" in said.getvalue()) == behind
