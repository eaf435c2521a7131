"""The machine's clock is set back by a day while a study runs, and again between two launches."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.replay import replay
from karat.report.writer import summarise, write_report
from karat.space.space import Space
from karat.study.audit import audit
from karat.study.description import description
from karat.study.study import Study
from karat.tracking.sync import sync
from tests.study.test_study import decisions, open_study, run

DAY = 86400.0


def backwards(start: float) -> Callable[[], float]:
    """A clock that is set back by a day at every tenth call."""

    def times() -> Iterator[float]:
        now = start
        while True:
            for _ in range(9):
                now += 1.0
                yield now
            now -= DAY
            yield now

    return times().__next__


def test_clock_set_back_changes_no_decision_and_loses_nothing(
    small_space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "small"
    for steps, start in ((7, 2e9), (9, 1.5e9), (10**6, 1.6e9)):
        clock = backwards(start)
        with Journal.open(folder, clock=clock) as journal:
            study = Study(small_space, journal, folder, clock=clock)
            if not study.state.created:
                study.record("study_created", **description(small_space, "fingerprint"))
            study.record("launched", slots=2, environment={})
            run(study, steps=steps)
            if not study.finished:
                number = next(
                    t.number for t in study.state.trials.values() if t.status == "running"
                )
                study.on_failed(number, "lost", {"message": "gone"})
    events = list(read_events(folder / JOURNAL))
    state = StudyState.of(events)
    assert state.status == "completed"
    assert list(replay(small_space, events)) == []
    sync(folder)
    assert [line for line in audit(folder) if "checkpoint" not in line] == []
    write_report(folder, state)
    assert summarise(state).is_final

    whole, journal = open_study(small_space, tmp_path / "whole")
    with journal:
        run(whole)
    ended = {d[0]: d for d in decisions(whole.state)}
    assert {d[0] for d in decisions(state)} == set(ended)
