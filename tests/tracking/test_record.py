"""The MLflow view reads a journal that is cut or replaced."""

import os
from pathlib import Path

import pytest

from karat.journal.journal import Event, Journal
from karat.journal.layout import JOURNAL
from karat.tracking.record import Point, Record
from karat.tracking.view import View
from tests import journals
from tests.costs import calls_of

pytestmark = pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # from MLflow


def write(folder: Path, events: list[Event]) -> None:
    with Journal.open(folder, clock=lambda: 5.0) as journal:
        for event in events:
            journal.append(event.kind, **event.data)


def content_of(record: Record) -> tuple[object, ...]:
    trials = record.state.trials
    points = [record.points(number, 0) for number in trials]
    return len(trials), record.state.status, points, record.study_points, record.time


def read_again(path: Path) -> Record:
    record = Record(path)
    record.read()
    return record


def test_record_read_in_steps_is_the_record_read_at_once(tmp_path: Path) -> None:
    events, path = journals.study().events, tmp_path / JOURNAL
    path.touch()
    record = Record(path)
    for start in range(0, len(events), 100):
        write(tmp_path, events[start : start + 100])
        record.read()
    assert content_of(record) == content_of(read_again(path))


def test_points_stay_where_a_segment_starts_again_from_an_earlier_epoch(tmp_path: Path) -> None:
    events = journals.study().events
    first = next(place for place, e in enumerate(events) if e.kind == "reported")
    trial = events[first].data["trial"]
    again = {"trial": trial, "segment": 1, "from_epoch": 0}
    write(tmp_path, [*events[: first + 2], Event(0, 0.0, "segment_started", again)])
    record = read_again(tmp_path / JOURNAL)
    assert len(record.state.trials[trial].reports) == 0
    assert record.count(trial) == 2
    data = events[first + 1].data
    metrics = {**data["metrics"], "epoch_seconds": data["seconds"]}
    assert record.points(trial, 1) == [Point(5.0, 2, metrics)]


def test_journal_cut_by_a_line_or_replaced_is_read_again(tmp_path: Path) -> None:
    events, path = journals.study().events, tmp_path / JOURNAL
    write(tmp_path, events[:60])
    record = read_again(path)
    before = record.state
    os.truncate(path, path.read_bytes()[:-1].rindex(b"\n") + 1)
    write(tmp_path, events[60:62])
    record.read()
    assert record.state is not before
    assert content_of(record) == content_of(read_again(path))
    path.unlink()
    write(tmp_path, events[:30])
    record.read()
    assert content_of(record) == content_of(read_again(path))


def runs_of(view: View) -> dict[int, str]:
    assert view._runs is not None
    return {number: known.id for number, known in view._runs.items()}


def test_view_of_a_replaced_journal_sends_its_present_content(tmp_path: Path) -> None:
    events, path = journals.study().events, tmp_path / JOURNAL
    write(tmp_path, events[:60])
    record, view = read_again(path), View(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    view.find_experiment(record)
    view.update(record, alive=True)
    before = runs_of(view)
    os.truncate(path, path.read_bytes()[:-1].rindex(b"\n") + 1)
    write(tmp_path, events[60:80])
    record.read()
    view.update(record, alive=True)
    after = runs_of(view)
    assert before.items() <= after.items()
    for number, run in after.items():
        history = view.client.get_metric_history(run, "val_loss")
        sent = {point.step: point.value for point in history}
        there = {point.step: point.metrics["val_loss"] for point in record.points(number, 0)}
        assert sent.items() >= there.items()


def many_trials(count: int) -> list[Event]:
    """The events of a study whose search has so many trials of one epoch."""
    script = journals.study()
    created, asked = (
        next(event for event in script.events if event.kind == kind)
        for kind in ("study_created", "trial_asked")
    )
    events = [("study_created", created.data)]
    for number in range(count):
        metrics = {"val_accuracy": 0.5 + number / 10_000, "val_loss": 1.0}
        of_trial = {"trial": number, "segment": 0}
        events += [
            ("trial_asked", {**asked.data, "trial": number}),
            ("segment_started", {**of_trial, "from_epoch": 0, "micro_batches": 1}),
            ("reported", {**of_trial, "epoch": 1, "metrics": metrics, "seconds": 1.0}),
            ("trial_ended", {"trial": number, "status": "completed"}),
        ]
    return [Event(place, 5.0 + place, kind, data) for place, (kind, data) in enumerate(events)]


def test_trial_costs_the_view_the_same_however_many_there_are(tmp_path: Path) -> None:
    calls = {}
    for count in (100, 1000):
        folder = tmp_path / str(count)
        write(folder, many_trials(count))
        record = Record(folder / JOURNAL)
        calls[count] = calls_of(record.read) / count
        assert record.study_points[-1].metrics == {
            "search_trials_ended": count,
            "search_best_val_accuracy": 0.5 + (count - 1) / 10_000,
        }
    assert calls[1000] < 1.1 * calls[100]


def test_trials_that_are_set_aside_do_not_count(tmp_path: Path) -> None:
    events = many_trials(3)
    script = journals.study()
    planned = next(event for event in script.events if event.kind == "confirmation_planned")
    write(tmp_path, [*events, Event(0, 0.0, planned.kind, {**planned.data, "set_aside": [1, 2]})])
    write(tmp_path, [Event(0, 0.0, "trial_ended", {"trial": 0, "status": "completed"})])
    record = read_again(tmp_path / JOURNAL)
    assert record.study_points[-1].metrics["search_trials_ended"] == 2  # trial 0, told twice here
    assert record.study_points[-1].metrics["search_best_val_accuracy"] == 0.5
