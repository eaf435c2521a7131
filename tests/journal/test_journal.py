import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from karat.errors import JournalError, StudyLockedError
from karat.journal.journal import Follower, Journal, read_events, repair
from karat.journal.layout import JOURNAL
from tests.conftest import ROOT


def write(folder: Path, count: int = 3) -> Path:
    with Journal.open(folder, clock=lambda: 1.5) as journal:
        for number in range(count):
            journal.append("reported", trial=number, text='a"b}\n')
    return folder / JOURNAL


def test_events_come_back_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "s")
    events = list(read_events(path))
    assert [event.seq for event in events] == [0, 1, 2]
    assert events[1].data == {"trial": 1, "text": 'a"b}\n'}
    assert [event.seq for event in read_events(path, offset=2)] == [2]


def test_reopened_journal_continues_after_its_past(tmp_path: Path) -> None:
    path = write(tmp_path / "s")
    with Journal.open(tmp_path / "s") as journal:
        assert len(journal.past) == 3
        journal.append("interrupted", signal="SIGINT")
    assert [event.seq for event in read_events(path)] == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_torn_last_line_is_cut_off(tmp_path: Path, lost: int) -> None:
    path = write(tmp_path / "s")
    os.truncate(path, path.stat().st_size - lost)
    assert [event.seq for event in read_events(path)] == [0, 1]
    with Journal.open(tmp_path / "s") as journal:
        assert journal.append("interrupted", signal="SIGINT").seq == 2
    assert [event.kind for event in read_events(path)] == ["reported", "reported", "interrupted"]


def test_damaged_line_is_refused_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "s")
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace('"trial":1', '"trial":7')
    path.write_text("".join(lines))
    with pytest.raises(JournalError, match=r"journal\.jsonl:2: this line is damaged"):
        list(read_events(path))


def test_missing_line_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(JournalError, match="missing or doubled"):
        list(read_events(path))


def test_missing_line_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "s")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(JournalError, match="missing or doubled"):
        Journal.open(tmp_path / "s")


def test_past_is_the_content_of_the_journal_when_it_was_opened(tmp_path: Path) -> None:
    write(tmp_path / "s")
    with Journal.open(tmp_path / "s") as journal:
        journal.append("interrupted", signal="SIGINT")
        assert [event.seq for event in journal.past] == [0, 1, 2]
        assert [event.seq for event in journal.past] == [0, 1, 2]  # repeated iteration


def test_follower_gives_each_event_once(tmp_path: Path) -> None:
    follower = Follower(write(tmp_path / "s"))
    assert [event.seq for event in follower.read()] == [0, 1, 2]
    assert list(follower.read()) == []
    with Journal.open(tmp_path / "s") as journal:
        journal.append("interrupted", signal="SIGINT")
        assert [event.kind for event in follower.read()] == ["interrupted"]
    assert not follower.is_replaced()


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_follower_returns_a_torn_line_once_it_is_written_again(tmp_path: Path, lost: int) -> None:
    path = write(tmp_path / "s")
    os.truncate(path, path.stat().st_size - lost)
    follower = Follower(path)
    assert [event.seq for event in follower.read()] == [0, 1]
    assert list(follower.read()) == []
    with Journal.open(tmp_path / "s") as journal:
        assert not follower.is_replaced()
        journal.append("interrupted", signal="a longer line than the one that was torn off")
    assert [(e.seq, e.kind) for e in follower.read()] == [(2, "interrupted")]


def test_follower_detects_a_removed_line_and_a_replaced_file(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "s")
    follower = Follower(path)
    assert not follower.is_replaced()  # nothing was read
    list(follower.read())
    whole = path.read_bytes()
    os.truncate(path, whole.rindex(b"{"))
    assert follower.is_replaced()
    with Journal.open(tmp_path / "s") as journal:
        journal.append("interrupted", signal="of the same place, but another event")
    assert follower.is_replaced()
    path.unlink()
    write(tmp_path / "s", count=1)
    assert follower.is_replaced()
    path.write_bytes(whole)
    assert not follower.is_replaced()


def test_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with (
        Journal.open(tmp_path / "s"),
        pytest.raises(StudyLockedError, match=f"process {os.getpid()}"),
    ):
        Journal.open(tmp_path / "s")
    Journal.open(tmp_path / "s").close()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from karat.journal.journal import Journal; "
        "j = Journal.open(Path(sys.argv[1])); j.append('interrupted', signal='x'); "
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], cwd=ROOT)
    assert done.returncode == -9
    with Journal.open(tmp_path / "s") as journal:
        assert len(journal.past) == 1


def test_lines_are_plain_json(tmp_path: Path) -> None:
    line = json.loads(write(tmp_path / "s").read_text().splitlines()[0])
    assert set(line) == {"v", "seq", "time", "kind", "data", "crc"}
    with Journal.open(tmp_path / "s") as journal, pytest.raises(ValueError, match="JSON"):
        journal.append("reported", metrics={"loss": float("nan")})


def test_damaged_journal_is_repaired_up_to_the_bad_line_and_a_copy_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "s", count=5)
    assert repair(tmp_path / "s") is None
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"trial":3', b'"trial":9'))
    done = repair(tmp_path / "s")
    assert done is not None
    left, copy = done
    assert left == 3
    assert [event.seq for event in read_events(path)] == [0, 1, 2]
    assert copy.read_bytes() == whole.replace(b'"trial":3', b'"trial":9')
    with Journal.open(tmp_path / "s") as journal:
        assert journal.append("interrupted", signal="x").seq == 3


def test_journal_of_a_clock_set_back_is_whole(tmp_path: Path) -> None:
    times = iter([100.0, 50.0, -1.0])
    with Journal.open(tmp_path / "s", clock=lambda: next(times)) as journal:
        for _ in range(3):
            journal.append("interrupted", signal="x")
    assert [event.time for event in read_events(tmp_path / "s" / JOURNAL)] == [100, 50, -1]
