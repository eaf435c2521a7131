"""Function calls and bytes of a long study, measured on a shorter one: 30 trials x 100 epochs.

`python -m benchmarks.journal` measures milliseconds.
"""

import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.journal_drive import Size, drive
from karat.cli.progress import Progress
from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.study.study import Study
from karat.tracking.record import Record
from tests.costs import calls_of, kept_bytes

SIZE = Size(trials=30, epochs=100, metrics=20)
REPORTS = SIZE.trials * SIZE.epochs
VALUES = REPORTS * (SIZE.metrics + 3)  # also epoch, seconds and time


@dataclass
class Driven:
    """A completed study: its folder and its costs.

    Args:
        calls: number of function calls for each report, in order.
        syncs: number of calls of `os.fsync`.
    """

    folder: Path
    calls: list[int] = field(default_factory=list)
    syncs: int = 0

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL


def driven(folder: Path, size: Size) -> Driven:
    """Run a study and count its calls."""
    found = Driven(folder)
    on_report, fsync = Study.on_report, os.fsync

    def counted(*arguments: Any) -> bool:
        answers = []
        found.calls.append(calls_of(lambda: answers.append(on_report(*arguments))))
        return answers[0]

    def synced(file: int) -> None:
        found.syncs += 1
        fsync(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "on_report", counted)
        patch.setattr(os, "fsync", synced)
        drive(folder, size)
    return found


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    return driven(tmp_path_factory.mktemp("long") / "study", SIZE)


def test_report_is_a_few_hundred_calls(long_study: Driven) -> None:
    assert len(long_study.calls) == REPORTS
    assert statistics.median(long_study.calls) < 2 * 173  # measured
    assert statistics.fmean(long_study.calls) < 2 * 190  # with those that ask for the next trial


def test_event_is_synced_to_disk_once(long_study: Driven) -> None:
    events = sum(1 for _ in read_events(long_study.journal))
    assert events <= long_study.syncs <= events + 5  # with the files beside the journal


def test_late_reports_cost_no_more_than_early_ones(long_study: Driven) -> None:
    fifth = len(long_study.calls) // 5
    early, late = long_study.calls[:fifth], long_study.calls[-fifth:]
    assert statistics.median(late) < 1.1 * statistics.median(early)
    assert statistics.fmean(late) < 1.5 * statistics.fmean(early)  # TPE looks at all trials told


def test_fold_costs_the_same_for_every_event(long_study: Driven) -> None:
    events = list(read_events(long_study.journal))
    half, whole = (
        calls_of(lambda part=part: StudyState.of(part)) / len(part)  # type: ignore[misc]
        for part in (events[: len(events) // 2], events)
    )
    assert whole < 1.1 * half
    assert whole < 2 * 51  # measured
    assert calls_of(lambda: list(read_events(long_study.journal))) < 2 * 26 * len(events)


def test_reports_are_kept_in_little_more_than_eight_bytes_a_value(long_study: Driven) -> None:
    kept = kept_bytes(lambda: StudyState.of(read_events(long_study.journal)))
    assert kept < 12 * VALUES


def test_resumed_study_keeps_its_reports_and_what_its_plan_needs(long_study: Driven) -> None:
    with Journal.open(long_study.folder) as journal:
        kept = kept_bytes(lambda: Study(SIZE.space(), journal, long_study.folder))
    assert kept < 12 * VALUES + 30_000 * SIZE.trials


def test_view_reads_only_what_is_new(long_study: Driven) -> None:
    record = Record(long_study.journal)
    record.read()
    assert calls_of(record.read) < 100


def test_progress_is_drawn_without_going_through_every_report(
    long_study: Driven, tmp_path: Path
) -> None:
    short = Size(trials=SIZE.trials, epochs=SIZE.epochs // 10, metrics=SIZE.metrics)
    drawn = []
    for size, folder in (
        (short, driven(tmp_path / "short", short).folder),
        (SIZE, long_study.folder),
    ):
        with Journal.open(folder) as journal:
            progress = Progress(Study(size.space(), journal, folder), 4, Console())
        progress._table()
        drawn.append(calls_of(progress._table))
    assert drawn[1] < 1.1 * drawn[0]
