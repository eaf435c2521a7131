"""Lines whose checksum is right and whose content is not: named by file and line, never a traceback."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from karat.errors import JournalError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from tests import journals


def line_of(text: str) -> str:
    """A line with the checksum of its text, a JSON object."""
    return f'{text[:-1]},"crc":"{zlib.crc32(text.encode()):08x}"}}'


def written(folder: Path, place: int, text: str) -> Path:
    """A journal in which one line is replaced."""
    lines = [
        line_of(json.dumps({"v": 2, "seq": e.seq, "time": e.time, "kind": e.kind, "data": e.data}))
        for e in journals.study().events
    ]
    lines[place] = line_of(text)
    path = folder / JOURNAL
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '{"v": 2, "seq": 3, "time": "now", "kind": "reported", "data": {}}',
        '{"v": 2, "seq": 3, "time": 1.0, "kind": 7, "data": {}}',
        '{"v": 2, "seq": 3, "time": 1.0, "kind": "reported", "data": [1]}',
        '{"v": 2, "seq": 3, "time": 1.0, "kind": "reported"}',
        '{"v": 2, "seq": 3, nonsense}',
    ],
)
def test_line_that_is_no_event_is_named(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, 3, text)
    with pytest.raises(JournalError, match=f"{path}:4: not an event"):
        list(read_events(path))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("reported", {"trial": 0, "segment": 0, "epoch": "one", "metrics": {}, "seconds": 1.0}),
        ("reported", {"trial": 0, "segment": 0, "epoch": 1, "metrics": 7, "seconds": 1.0}),
        ("trial_asked", {"trial": 0, "factors": [1]}),
        ("launched", {"slots": 1}),
        ("no_such_kind", {}),
    ],
)
def test_event_with_wrong_data_is_named(tmp_path: Path, kind: str, data: dict[str, Any]) -> None:
    body = {"v": 2, "seq": 5, "time": 1.0, "kind": kind, "data": data}
    path = written(tmp_path, 5, json.dumps(body))
    with pytest.raises(JournalError, match=f"{path}:6"):
        StudyState.of(read_events(path))


def test_pipe_in_place_of_a_journal_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / JOURNAL)
    with pytest.raises(OSError, match="a pipe or a device, not a file"):
        list(read_events(tmp_path / JOURNAL))
