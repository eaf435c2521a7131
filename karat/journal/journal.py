"""The append-only record of a study: one JSON line per event, on disk before the event is applied.

One process writes (`Journal.open` takes the study's lock, `karat.journal.lock`); any process may
read (`read_events`, or a `Follower` while the journal grows). What a line is: `karat.journal.lines`. An
incomplete last line, left by a kill during a write, is cut off when the journal is opened.
"""

import contextlib
import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from karat.errors import JournalError, JournalWriteError
from karat.journal.layout import JOURNAL
from karat.journal.lines import CHECKSUM, FREQUENT, READ, Event, check, checksum, decode, encode
from karat.journal.lock import StudyLock
from karat.system import fault_injection
from karat.system.files import open_regular

_REMEDIES = {
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space",
    errno.EROFS: "make its file system writable",
}
__all__ = ["Event", "Follower", "Journal", "Past", "read_ends", "read_events", "repair"]

log = logging.getLogger(__name__)


class Past(Collection[Event]):
    """The first `count` events of a journal, read from its file at every iteration.

    As objects they would take memory as long as a resumed driver runs.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._count = path, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Event]:
        return islice(read_events(self._path), self._count)

    def __contains__(self, event: object) -> bool:
        return any(each == event for each in self)


class Journal:
    """The writer of a journal; use `Journal.open` as a context manager.

    Args:
        path: of the journal.
        past: its events when it was opened.
        lock: of the study.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self, path: Path, past: Collection[Event], lock: StudyLock, clock: Callable[[], float]
    ) -> None:
        self.path, self.past = path, past
        self._next = len(past)
        self._broken = False
        self._lock, self._clock = lock, clock
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @classmethod
    def open(cls, folder: Path, clock: Callable[[], float] = time.time) -> "Journal":
        """Take the study's lock and open its journal; both are created if missing.

        Raises:
            StudyLockedError: another process holds the lock; the message names it.
            JournalError: a line other than the last is damaged.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = StudyLock.take(folder)
        path = folder / JOURNAL
        try:
            path.touch(mode=0o600)
            _cut_torn_tail(path)
            return cls(path, Past(path, _count(path)), lock, clock)
        except BaseException:
            lock.release()
            raise

    def append(self, kind: str, **data: Any) -> Event:
        """Write one event and wait until it is on disk.

        Raises:
            JournalWriteError: this write failed, or an earlier one.
        """
        if self._broken:
            raise JournalWriteError(f"{self.path}: takes no more events, since a write failed")
        event = Event(self._next, self._clock(), kind, data)
        line = encode(event)
        if fault_injection.is_due("journal.torn"):
            os.write(self._file, line[: len(line) // 2])
            fault_injection.trigger("journal.torn")
        try:
            self._write(line)
        except OSError as error:
            self._broken = True
            remedy = _REMEDIES.get(error.errno or 0, "make the storage work again")
            raise JournalWriteError(
                f"{self.path}: could not be written ({error.strerror}). Earlier events are "
                f"intact; {remedy} and run the same command again"
            ) from error
        self._next += 1
        return event

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError:
            # Remove a partial line. If that fails too, it is the last line, and the next `open` cuts it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise

    def close(self) -> None:
        """Close the journal and release the lock."""
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path, offset: int = 0) -> Iterator[Event]:
    """The events of a journal in order, without a lock; an incomplete last line is skipped.

    Args:
        path: of the journal.
        offset: number of events to skip.

    Raises:
        JournalError: a line other than the last is damaged, or a line is missing.
    """
    with open_regular(path) as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            if number >= offset:
                yield decode(line, number, path)


def read_ends(path: Path) -> Iterator[Event]:
    """The events that tell how a study stands: which trials have ended, and what the confirmation says.

    Most lines of a journal are about the epochs of search trials. Every line is checked, but decoded are
    only the last report before another event about the same trial, which comes just before that event, and of
    search trials no report and no segment. They are needed in journals of the first version alone, whose
    confirmed cells have no value.

    Raises:
        JournalError: as `read_events` does.
    """
    last: dict[int, tuple[int, bytes]] = {}  # number and line of the last report, by trial
    search: dict[int, tuple[int, bytes] | None] = {}  # the same of search trials
    with open_regular(path) as file:
        for number, line in enumerate(file):
            if line[-CHECKSUM:] != checksum(line[:-CHECKSUM]):
                if not line.endswith(b"\n"):
                    break
                decode(line, number, path)  # raises with the reason
            found = FREQUENT.match(line)
            if found and int(found[1]) == number:
                trial = int(found[3])
                if found[2] == b"reported":
                    (search if trial in search else last)[trial] = number, line
                    continue
                if trial in search:
                    continue
            event = decode(line, number, path)
            trial = event.data.get("trial", -1)
            if (held := last.pop(trial, None)) is not None:
                yield decode(held[1], held[0], path)
            if event.kind == "trial_asked" and event.data.get("phase") == "search":
                search[trial] = None
            if event.kind == "confirmation_planned":
                for trial in _without_value(event):
                    if (held := search.get(trial)) is not None:
                        yield decode(held[1], held[0], path)
            yield event
    for number, line in last.values():
        yield decode(line, number, path)


def _without_value(planned: Event) -> list[int]:
    """The search trials whose last value stands for that of their cell."""
    return [cell.get("trial", -1) for cell in planned.data["cells"] if cell.get("value") is None]


class Follower:
    """Reads a journal while it is written; each call of `read` returns the new events.

    Args:
        path: of the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._events = self._offset = 0
        self._last = b""

    def is_replaced(self) -> bool:
        """Whether the file differs from what was read, so that a new follower must read it again.

        Another study may have replaced the file, and a failed write removes its line.
        """
        with open_regular(self._path) as file:
            file.seek(self._offset - len(self._last))
            return file.read(len(self._last)) != self._last

    def read(self) -> Iterator[Event]:
        """The events since the last call; an incomplete last line is returned once it is complete.

        Raises:
            JournalError: as `read_events` does.
        """
        with open_regular(self._path) as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                event = decode(line, self._events, self._path)
                self._last, self._offset = line, self._offset + len(line)
                self._events += 1
                yield event


def repair(folder: Path) -> tuple[int, Path] | None:
    """Copy a journal and cut it before its first damaged line.

    The study then resumes from there: what the removed events recorded is done again.

    Args:
        folder: of the study.

    Returns:
        The number of events left and the path of the copy; None if no line is damaged.

    Raises:
        StudyLockedError: the study is running.
    """
    path = folder / JOURNAL
    lock = StudyLock.take(folder)
    try:
        good = 0
        try:
            for event in read_events(path):
                good = event.seq + 1
            return None
        except JournalError:
            with open_regular(path) as file:
                size = sum(len(line) for line, _ in zip(file, range(good), strict=False))
            copy = path.with_name(f"{JOURNAL}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            shutil.copy2(path, copy)
            os.truncate(path, size)
            return good, copy
    finally:
        lock.release()


def _count(path: Path) -> int:
    """The number of events in a journal without an incomplete last line; checks each line."""
    count = 0
    with open_regular(path) as file:
        for line in file:
            check(line, count, path)
            if not line.startswith(tuple(b'{"v":%d,"seq":%d,' % (v, count) for v in READ)):
                decode(line, count, path)  # raises with the reason
            count += 1
    return count


def _cut_torn_tail(path: Path) -> None:
    with open_regular(path) as file:
        content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        log.warning("%s: cut off an incomplete last line of %d bytes", path, len(content) - whole)
        os.truncate(path, whole)
