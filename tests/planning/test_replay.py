"""Repeated decisions are those of the journal; a decision that differs is reported."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.cli.main import main
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.planning.replay import replay
from karat.space.reader import load_space, space_of
from karat.space.space import Space
from tests.spaces import LISTS, MATCHED
from tests.study.test_study import open_study, run


def events_of(space: Space, folder: Path, *stops: int) -> list[Event]:
    """Events of a study, run by the fake engine and interrupted after each of `stops` epochs."""
    for steps in (*stops, 10**6):
        study, journal = open_study(space, folder)
        with journal:
            run(study, steps=steps)
    return list(read_events(folder / JOURNAL))


def changed(events: list[Event], place: int, **data: object) -> list[Event]:
    event = events[place]
    other = dataclasses.replace(event, data={**event.data, **data})
    return [*events[:place], other, *events[place + 1 :]]


@pytest.mark.parametrize("text", [None, MATCHED, LISTS])
@pytest.mark.parametrize("stops", [(), (5,), (3, 7)])
def test_a_study_takes_the_same_decisions_again(
    write_space: Callable[..., Path], tmp_path: Path, text: str | None, stops: tuple[int, ...]
) -> None:
    space = load_space(write_space(**({} if text is None else {"text": text})))
    events = events_of(space, tmp_path / "s", *stops)
    assert list(replay(space, events)) == []


def test_the_space_in_the_journal_is_the_space(small_space: Space, tmp_path: Path) -> None:
    created = events_of(small_space, tmp_path / "s")[0].data
    again = space_of(json.loads(json.dumps(created["space"])), created["name"], "journal")
    assert again == small_space


def test_a_proposal_that_differs_is_named_and_is_the_only_one(
    small_space: Space, tmp_path: Path
) -> None:
    events = events_of(small_space, tmp_path / "s")
    place = [i for i, e in enumerate(events) if e.kind == "trial_asked"][-1]
    (found,) = replay(small_space, changed(events, place, seed=1))
    assert (found.seq, found.recorded) == (place, f"trial {events[place].data['trial']}: seed = 1")


def test_a_stop_that_was_not_due_is_named(small_space: Space, tmp_path: Path) -> None:
    events = events_of(small_space, tmp_path / "s")
    place = next(
        i for i, e in enumerate(events)
        if e.kind == "trial_ended" and e.data["status"] == "completed"
    )  # fmt: skip
    found = list(replay(small_space, changed(events, place, status="stopped")))
    assert "decided again: completed" in str(found[0])


def test_another_choice_of_cells_is_named(small_space: Space, tmp_path: Path) -> None:
    events = events_of(small_space, tmp_path / "s")
    place = next(i for i, e in enumerate(events) if e.kind == "confirmation_planned")
    found = list(replay(small_space, changed(events, place, skipped=["x"])))
    assert found[0].seq == place


def test_command_says_that_all_is_the_same_or_what_is_not(
    small_space: Space, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events_of(small_space, tmp_path / "s")
    assert main(["replay", str(tmp_path / "s")]) == 0
    assert "every decision is the same again" in capsys.readouterr().out
    assert main(["replay", str(tmp_path)]) == 2


def test_decisions_on_retries_are_repeated(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        study._clock = lambda: 2e9  # long after every back-off
        for cause in ("memory", "memory", "lost", "lost", "lost", "lost", "error"):
            segment = study.next_segment()
            assert segment is not None
            study.on_failed(segment.trial, cause, {"message": "a reason"})
        run(study)
    events = list(read_events(tmp_path / "s" / JOURNAL))
    assert list(replay(small_space, events)) == []
    ends = [i for i, e in enumerate(events) if e.kind == "segment_ended"]
    memory = next(i for i in ends if events[i].data["cause"] == "memory")
    found = list(replay(small_space, changed(events, memory, cause="error")))
    assert "to be tried again (error); decided again: failed" in str(found[0])
    failed = [i for i, e in enumerate(events) if e.data.get("status") == "failed"]
    found = list(replay(small_space, changed(events, failed[-1], cause="memory")))
    assert "failed (memory); decided again: to be tried again" in str(found[0])
