"""A line of a journal: an event as JSON, with its checksum.

`{"v": 2, "seq": 3, "time": 1700000000.0, "kind": "reported", "data": {...}, "crc": "89abcdef"}`;
`crc` is the CRC-32 of the line without it.
"""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from karat.errors import JournalError

VERSION, OLD_VERSION = 2, 1
READ = (VERSION, OLD_VERSION)
CHECKSUM = len(b',"crc":"01234567"}\n')  # bytes at the end of every line
# The beginning of the lines that are most of a journal, as `encode` writes them: number, kind and trial.
FREQUENT = re.compile(
    rb'{"v":(?:%s),"seq":(\d+),"time":[\d.]+,"kind":"(reported|segment_started)","data":{"trial":(\d+),'
    % b"|".join(b"%d" % version for version in READ)
)
_FIELDS = frozenset({"v", "seq", "time", "kind", "data"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a journal: its number (from 0), time (seconds since the epoch), kind and data.

    `path` is the journal's file, for messages; None before the event is written.
    """

    seq: int
    time: float
    kind: str
    data: Mapping[str, Any]
    path: Path | None = field(default=None, compare=False, repr=False)

    @property
    def where(self) -> str:
        """File and line; without a file, the number of the event."""
        return f"event {self.seq}" if self.path is None else f"{self.path}:{self.seq + 1}"


def encode(event: Event) -> bytes:
    """The line of an event."""
    body = {
        "v": VERSION,
        "seq": event.seq,
        "time": round(event.time, 6),
        "kind": event.kind,
        "data": event.data,
    }
    text = json.dumps(body, separators=(",", ":"), allow_nan=False)
    line = text[:-1].encode()
    return line + checksum(line)


def checksum(text: bytes) -> bytes:
    """What stands at the end of a line, behind its text without the last brace."""
    return b',"crc":"%08x"}\n' % zlib.crc32(b"}", zlib.crc32(text))


def check(line: bytes, number: int, path: Path) -> bytes:
    """The line without its checksum and what follows it.

    Raises:
        JournalError: the checksum does not match.
    """
    text = line[:-CHECKSUM]
    if line[-CHECKSUM:] != checksum(text):
        raise JournalError(
            f"{path}:{number + 1}: this line is damaged (its checksum does not match). "
            f"`python -m karat repair {path.parent}` goes back to the event before it"
        )
    return text


def decode(line: bytes, number: int, path: Path) -> Event:
    """The event of a whole line, which must have this number.

    Raises:
        JournalError: the line is damaged, of a later version, or not the one that comes next.
    """
    text = check(line, number, path)
    try:
        body = json.loads(text.decode() + "}")  # as text: else it looks for the encoding first
    except (ValueError, RecursionError):
        body = None
    if not _is_event(body):
        raise JournalError(f"{path}:{number + 1}: not an event, though its checksum is right")
    if body["v"] not in READ:
        raise JournalError(
            f"{path}:{number + 1}: version {body['v']}; this karat reads up to version {VERSION}. Use the "
            "version of karat that wrote it"
        )
    if body["seq"] != number:
        raise JournalError(
            f"{path}:{number + 1}: event {body['seq']} where {number} was expected; "
            f"lines are missing or doubled. `python -m karat repair {path.parent}` goes back to "
            "the event before it"
        )
    data = body["data"]
    if body["v"] == OLD_VERSION:
        from karat.journal import old_events  # few journals need it

        try:
            data = old_events.modern(body["kind"], data)
        except KeyError as error:
            raise JournalError(
                f"{path}:{number + 1}: {error} is missing in {body['kind']}"
            ) from error
    return Event(body["seq"], body["time"], body["kind"], data, path)


def _is_event(body: Any) -> bool:
    """Whether a line of JSON has what every event has; a line with a right checksum may be anything."""
    return (
        isinstance(body, dict)
        and body.keys() >= _FIELDS
        and isinstance(body["time"], int | float)
        and isinstance(body["kind"], str)
        and isinstance(body["data"], dict)
    )
