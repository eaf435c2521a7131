"""The bars for a long study, at a part of its length: 30 trials x 100 epochs x 20 metrics.

Of 500 trials `python -m benchmarks.journal` tells. Times are medians or CPU time, memory is what
Python has allocated, so that a busy machine changes little.
"""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.journal_drive import Drive, Size, drive
from karat.cli.progress import Progress
from karat.journal.journal import FILE_NAME, Journal, read_events
from karat.journal.state import StudyState
from karat.study.study import Study
from karat.tracking.view import Record

SIZE = Size(trials=30, epochs=100, metrics=20)
VALUES = SIZE.trials * SIZE.epochs * (SIZE.metrics + 3)  # also epoch, seconds and time
SHARE = SIZE.trials / 500


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Drive]:
    folder = tmp_path_factory.mktemp("long") / "study"
    return folder, drive(folder, SIZE)


def cpu_seconds(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def kept_bytes(make: Callable[[], Any]) -> int:
    """Of what `make` returns."""
    tracemalloc.start()
    try:
        made = make()
        kept, _ = tracemalloc.get_traced_memory()
        del made
    finally:
        tracemalloc.stop()
    return kept


def test_event_takes_less_than_five_milliseconds(long_study: tuple[Path, Drive]) -> None:
    _, done = long_study
    assert len(done.reports.all) == SIZE.trials * SIZE.epochs
    assert statistics.median(done.reports.all) < 5
    assert statistics.median(done.reports.own) < 1


def test_late_events_take_no_longer_than_early_ones(long_study: tuple[Path, Drive]) -> None:
    own = long_study[1].reports.own
    fifth = len(own) // 5
    assert statistics.median(own[-fifth:]) < 3 * statistics.median(own[:fifth])


def test_fold_takes_less_than_five_seconds_for_500_trials(long_study: tuple[Path, Drive]) -> None:
    path = long_study[0] / FILE_NAME
    assert cpu_seconds(lambda: StudyState.of(read_events(path))) < SHARE * 5


def test_reports_are_kept_in_little_more_than_eight_bytes_a_value(
    long_study: tuple[Path, Drive],
) -> None:
    path = long_study[0] / FILE_NAME
    kept = kept_bytes(lambda: StudyState.of(read_events(path)))
    assert kept < 12 * VALUES


def test_resumed_study_keeps_its_reports_and_what_its_plan_needs(
    long_study: tuple[Path, Drive],
) -> None:
    folder, _ = long_study
    with Journal.open(folder) as journal:
        kept = kept_bytes(lambda: Study(SIZE.space(), journal, folder))
    assert kept < 12 * VALUES + 30_000 * SIZE.trials


def test_view_reads_only_what_is_new(long_study: tuple[Path, Drive]) -> None:
    record = Record(long_study[0] / FILE_NAME)
    first = cpu_seconds(record.read)
    assert statistics.median(cpu_seconds(record.read) for _ in range(20)) < first / 20


def test_progress_is_drawn_without_going_through_every_report(
    long_study: tuple[Path, Drive],
) -> None:
    folder, _ = long_study
    with Journal.open(folder) as journal:
        progress = Progress(Study(SIZE.space(), journal, folder), 4, Console())
    assert statistics.median(cpu_seconds(progress._table) for _ in range(20)) < 0.01
