"""Journals of version 1, which had sentences instead of the codes of `karat.causes`, still open.

`old/` holds three studies written by the code of that time, with its results: state, report, texts
for MLflow, audit and replay. `everything` was interrupted by a signal, a full disk and a spent
budget, killed and extended; its trials were paused, lost, out of memory, hung, stopped and failed in
every way. `hopeless` failed with the same error in several trials, and in `nothing` no trial was
completed.
"""

import dataclasses
import json
import shutil
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from karat.causes import Failure, Interrupt, SegmentEnd, Stop, StudyFailure
from karat.errors import JournalError
from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL, REPORT_MARKDOWN
from karat.journal.old_events import modern
from karat.journal.state import StudyState
from karat.journal.wording import search_cut_text, study_text, trial_text
from karat.planning.replay import replay
from karat.report.writer import write_report
from karat.space.reader import space_of
from karat.study.audit import audit
from karat.study.description import original_space
from karat.study.study import Study
from karat.tracking.trial_run import status_of
from tests.study.test_study import run

OLD = Path(__file__).parent / "old"
NAMES = sorted(path.name for path in OLD.iterdir())


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study at its original relative path, which the report contains."""
    monkeypatch.chdir(tmp_path)
    path = Path("studies") / name
    path.mkdir(parents=True)
    shutil.copy(OLD / name / JOURNAL, path)
    return path


@pytest.fixture
def expected(name: str) -> Any:
    return json.loads((OLD / name / "expected.json").read_text())


def state_of(folder: Path) -> StudyState:
    return StudyState.of(read_events(folder / JOURNAL))


def test_state_is_what_it_was(folder: Path, expected: Any) -> None:
    state = state_of(folder)
    assert (state.status, study_text(state)) == (expected["status"], expected["reason"])
    assert dataclasses.asdict(state.usage.until()) == expected["spent"]
    cut = "" if state.search_cut is None else search_cut_text(state.search_cut)
    assert cut == expected["search_cut"]
    found = [
        {
            "status": trial.status,
            "cause": trial.cause if trial.status == "failed" else "",
            "reason": trial_text(trial),
            "lost_segments": trial.lost_segments,
            "micro_batches": trial.micro_batches,
            "segments": trial.segments,
            "epochs": len(trial.reports),
            "ready_at": trial.ready_at,
            "set_aside": trial.set_aside,
        }
        for trial in state.trials.values()
    ]
    assert found == expected["trials"]
    extensions = [
        {
            "time": each.time,
            "by": " ".join(f"--extend {option}" for option in each.extend),
            "changes": list(each.changes),
            "was_completed": each.was_completed,
        }
        for each in state.extensions
    ]
    assert extensions == expected["extensions"]


def test_report_is_what_it_was(folder: Path, name: str) -> None:
    write_report(folder, state_of(folder))
    assert (folder / REPORT_MARKDOWN).read_text() == (OLD / name / REPORT_MARKDOWN).read_text()


def test_mlflow_is_told_what_it_was(folder: Path, expected: Any) -> None:
    state = state_of(folder)
    told = {str(t.number): [status_of(t, True), trial_text(t)] for t in state.trials.values()}
    assert told == expected["tracking"]


def test_audit_and_replay_find_what_they_found(folder: Path, expected: Any) -> None:
    events = list(read_events(folder / JOURNAL))
    created = StudyState.of(events).original
    space = space_of(created["space"], created["name"], "replay")
    assert [str(each) for each in replay(space, events)] == expected["replay"] == []
    assert audit(folder, tracking=False) == expected["audit"]


def test_study_resumes_in_one_journal_of_both_versions(folder: Path) -> None:
    """It resumes where the driver was killed, or else before its last event."""
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    kinds = [event.kind for event in read_events(folder / JOURNAL)]
    launches = [place for place, kind in enumerate(kinds) if kind == "launched"]
    (folder / JOURNAL).write_bytes(b"".join(lines[: (*launches, len(lines))[1] - 1]))
    known = state_of(folder)
    now = iter(range(10**6))

    def clock() -> float:
        return known.created_at + 1e5 + next(now)

    with Journal.open(folder, clock) as journal:
        study = Study(original_space(known, folder), journal, folder, clock)
        if not study.finished:
            study.record("launched", slots=2, environment={})
            run(study)
    events = list(read_events(folder / JOURNAL))
    assert StudyState.of(events).status == ("completed" if len(launches) > 1 else "failed")
    space = original_space(known, folder)
    assert list(replay(space, events)) == []


def test_every_code_that_old_journals_can_have_is_in_one_of_them() -> None:
    causes: dict[str, Counter[str]] = {}
    for name in NAMES:
        for event in read_events(OLD / name / JOURNAL):
            status = event.data.get("status", "")
            key = f"{event.kind} {status}".strip()
            causes.setdefault(key, Counter())[event.data.get("cause", "")] += 1
    assert set(causes["trial_ended failed"]) == set(Failure)
    # Constraints, and rules that hold trials, came after these journals.
    assert set(causes["trial_ended stopped"]) == set(Stop) - {Stop.CONSTRAINT}
    assert set(causes["segment_ended"]) == set(SegmentEnd) - {SegmentEnd.HELD}
    assert set(causes["interrupted"]) == set(Interrupt) - {Interrupt.RAY}  # which is younger
    assert set(causes["study_ended failed"]) == set(StudyFailure)


def test_no_sentence_is_left_in_what_decides_something() -> None:
    for name in NAMES:
        for event in read_events(OLD / name / JOURNAL):
            assert not {"reason", "detail", "by", "signal"} & event.data.keys()
            details = event.data.get("details", {})
            if event.data.get("cause") in (Failure.ERROR, *Interrupt, *StudyFailure, *Stop):
                assert "text" not in details


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("trial_ended", {"status": "failed", "reason": "odd", "cause": "error"}),
        ("trial_ended", {"status": "failed", "reason": "of the first version"}),
        ("trial_ended", {"status": "stopped", "reason": "early stopping"}),
        ("segment_ended", {"cause": "lost", "detail": "a node is gone"}),
        ("study_ended", {"status": "failed", "reason": "odd"}),
        ("search_cut", {"reason": "odd"}),
        ("interrupted", {"signal": "budget", "reason": "odd"}),
        ("interrupted", {"signal": "disk", "reason": "odd"}),
    ],
)
def test_sentence_that_is_not_known_stays_whole(kind: str, data: dict[str, str]) -> None:
    known = {data.get("reason"), data.get("detail")}
    assert modern(kind, data)["details"]["text"] in known


def test_old_event_that_lacks_something_is_a_damaged_journal(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        modern("trial_ended", {"status": "failed"})
    path = tmp_path / JOURNAL
    body = '{"v":1,"seq":0,"time":1.0,"kind":"study_ended","data":{"status":"failed"}'
    crc = zlib.crc32(f"{body}}}".encode())
    path.write_text(f'{body},"crc":"{crc:08x}"}}\n')
    with pytest.raises(JournalError, match=r"journal.jsonl:1: 'reason' is missing in study_ended"):
        list(read_events(path))
