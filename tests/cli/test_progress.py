"""What a launch says of itself, on a terminal and in a log."""

import dataclasses
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from karat.cli import progress as progress_module
from karat.cli.progress import WRITING, Progress, clock_text
from karat.cli.text.left import left_text
from karat.forecast.time_left import Expected, Left
from karat.space.space import Space
from karat.study.study import Study
from tests.study.test_study import open_study, run

Clock = Callable[[float], None]


@pytest.fixture
def study(small_space: Space, tmp_path: Path) -> Study:
    return open_study(small_space, tmp_path / "s")[0]


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that moves only when told."""
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])

    def by(seconds: float) -> None:
        now[0] += seconds

    return by


def log() -> tuple[Console, io.StringIO]:
    """A console without a terminal, as narrow as a telephone."""
    text = io.StringIO()
    return Console(file=text, width=40, markup=False, highlight=False), text


def test_a_log_says_each_step_of_a_launch_from_start_to_end(study: Study, advance: Clock) -> None:
    console, text = log()
    with Progress(study, 2, console) as progress:
        progress.stage("starting 2 workers")
        run(study)
        for stage in ("stopping the workers", "writing the report", "bringing MLflow up to date"):
            advance(1)
            progress.stage(stage)
    lines = text.getvalue().splitlines()
    assert [line.partition(" · ")[0] for line in lines] == [
        "starting 2 workers",
        "searching",
        "searching and confirming",
        "confirming",
        "stopping the workers",
        "writing the report",
        "bringing MLflow up to date",
    ]
    assert "search 0 of 6" in lines[1]
    assert lines[-1].endswith("0:03")


def test_lines_of_a_log_become_rarer(study: Study, advance: Clock) -> None:
    console, text = log()
    study.record("launched", slots=1, environment={})
    with Progress(study, 1, console) as progress:
        study.next_segment()
        moments = []
        for second in range(3600):
            advance(1)
            before = len(text.getvalue())
            progress._on_event(
                study.journal.past[0] if study.journal.past else _event(), study.state
            )
            if len(text.getvalue()) > before:
                moments.append(second)
    assert len(moments) < 100
    assert moments[1] - moments[0] == 10
    assert moments[-1] - moments[-2] == 60


def _event() -> "object":
    from karat.journal.journal import Event

    return Event(0, 0.0, "output_lost", {})


def test_a_terminal_shows_what_happens_even_before_there_is_a_trial(study: Study) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=60)
    with Progress(study, 2, console) as progress:
        progress.stage("starting Ray")
        run(study, steps=3)
        assert "searching" in _drawn(progress)
        progress.stage("writing the report")
        assert "writing the report" in _drawn(progress)
    assert "starting Ray" in text.getvalue()


def _drawn(progress: Progress) -> str:
    text = io.StringIO()
    Console(file=text, width=60).print(progress._table())
    return text.getvalue()


def test_what_is_left_is_said_as_a_range_where_it_is_not_known() -> None:
    assert left_text(Left(low_s=340, high_s=380)) == "about 6.0 min left"
    assert left_text(Left(low_s=240, high_s=540)) == "4.0 min to 9.0 min left"
    assert clock_text(187) == "3:07"
    assert clock_text(7205) == "2:00:05"


def test_before_the_first_epoch_the_plan_says_what_is_left(study: Study) -> None:
    console, _ = log()
    expected = Expected(epoch_s=dict.fromkeys(study.space.arms, 10.0), factor=2.0)
    study.record("launched", slots=2, environment={})
    begun = dataclasses.replace(expected, epochs=4, start_s=20.0, end_s=10.0)
    # 6 trials of the search and 6 of the confirmation, of 4 epochs, two at a time; early stopping may leave a third.
    assert "1.8 min to 8.7 min left" in Progress(study, 2, console, begun)._line()
    assert "not known yet" in Progress(study, 2, console, expected)._line()
    study.next_segment()
    assert "left" in Progress(study, 2, console, expected)._line()
    assert "not known yet" in Progress(study, 2, console)._line()


def test_an_interrupted_launch_promises_no_more_training(study: Study) -> None:
    console, text = log()
    study.record("launched", slots=2, environment={})
    with Progress(study, 2, console) as progress:
        run(study, steps=3)
        progress.stage(WRITING)
    assert not study.finished
    assert "left" not in text.getvalue().splitlines()[-1]


def test_a_closed_output_does_not_end_the_study(study: Study) -> None:
    from karat.terminal import Output

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    console = Console(file=Output(Closed(), "stdout"), width=40)  # type: ignore[arg-type]
    with Progress(study, 2, console) as progress:
        progress.stage("starting 2 workers")
        run(study)
        progress.stage("writing the report")
    assert study.finished
    assert time.monotonic() > 0
