"""The driver of a launch with a fake engine: synthetic numbers, in this process, as far as asked for."""

from pathlib import Path

import pytest
from rich.console import Console

from karat.cli import driver
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.replay import replay
from karat.space.reader import load_space
from karat.study.audit import audit
from karat.study.study import Study
from karat.system.process.signals import Interruption
from tests.study.test_study import run

ALL = 10**6
_steps_to_run = [ALL]


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the part of the driver that starts Ray; `go` needs it."""

    def fake_run(study: Study, *_: object) -> int:
        study.record("launched", slots=1, environment={})
        run(study, steps=_steps_to_run[0], slots=1)
        if not study.finished:
            study.on_interrupted("SIGTERM")
        return 0 if study.finished else 75

    monkeypatch.setattr(driver, "_run", fake_run)


def go(space: Path, storage: Path, *extend: str, steps: int = ALL, fresh: bool = False) -> int:
    """A launch, which is interrupted after `steps` epochs; returns its exit status."""
    _steps_to_run[0] = steps
    return driver.drive(
        load_space(space),
        storage,
        fresh=fresh,
        extend=extend,
        command="",
        console=Console(quiet=True),
        interruption=Interruption(),
    )


def checked(folder: Path) -> StudyState:
    """All invariants but checkpoints, which the fake engine does not write, and the replay."""
    assert [line for line in audit(folder, tracking=False) if "checkpoint" not in line] == []
    events = list(read_events(folder / JOURNAL))
    state = StudyState.of(events)
    assert list(replay(driver.original_space(state, folder), events)) == []
    return state
