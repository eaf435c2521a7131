"""Synthetic studies in one storage folder, for the commands that only read."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karat.cli.main import main
from karat.journal.journal import Journal
from tests import journals
from tests.journals import Plan

Run = Callable[..., str]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Studies at several points; `running` is running, `later` has an event of a later version."""
    folder = tmp_path_factory.mktemp("studies")
    for until in ("created", "searching", "confirming", "end"):
        journals.write(folder / until, journals.study(Plan(until=until)))
    script = journals.study(Plan(until="created"))
    script.add("moved_to_the_moon")
    journals.write(folder / "later", script)
    events = journals.study(Plan()).events
    stopped = next(n for n, e in enumerate(events) if e.data.get("cause") == "early_stopping")
    journals.write(folder / "running", journals.Script(events[: stopped + 4]))
    with Journal.open(folder / "running"):
        yield folder


@pytest.fixture
def said(studies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on `studies`, which must end with a status; returns what it printed."""
    monkeypatch.setenv("COLUMNS", "200")  # workers of pytest-xdist have 80, and lines are wrapped

    def run(*words: str, status: int = 0) -> str:
        assert main([*words, "--storage", str(studies)]) == status
        told = capsys.readouterr()
        return told.out + told.err

    return run
