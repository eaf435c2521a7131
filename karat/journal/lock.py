"""One writer per study: a lock that distinguishes a living owner from a dead one.

The owner holds `flock` on the file `lock` while it lives, and writes its host, process id and start
time into the file. Where the file system supports `flock`, that is enough. Some network file
systems support it within one machine only, or not at all. There the identity in the file decides:
an owner on this machine is looked up among the processes; an owner on another machine sends a
heartbeat every few seconds, the file's modification time, which is watched for a change (clocks of
two machines are never compared). Of two processes that start at once, only the one whose identity
stays in the file is the owner.
"""

import dataclasses
import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from karat.errors import StudyError, StudyLockedError
from karat.journal.layout import LOCK
from karat.system.process.identity import ProcessIdentity

HEARTBEAT_S = 5.0
WATCH_S = 20.0  # network file systems show a new time some seconds late
SETTLE_S = 0.5  # until a process that started at the same moment sees our identity
# Errors of file systems without locks: Lustre without `-o flock`, NFS without a lock daemon.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
log = logging.getLogger(__name__)


class StudyLock:
    """The lock of a study's folder, held from `take` to `release` or the end of the process."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._released, self._guard = threading.Event(), threading.Lock()
        threading.Thread(target=self._send_heartbeats, name="study-lock", daemon=True).start()

    @classmethod
    def take(
        cls, folder: Path, watch_s: float = WATCH_S, sleep: Callable[[float], None] = time.sleep
    ) -> "StudyLock":
        """Take the lock.

        Args:
            folder: of the study.
            watch_s: seconds to wait for a heartbeat of an owner on another machine.
            sleep: as `time.sleep`.

        Raises:
            StudyLockedError: a living process holds it, which the message names, or another
                launcher has renamed the folder meanwhile.
            StudyError: the folder cannot be written to.
        """
        try:
            file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StudyError(f"{folder}: cannot be written to ({error.strerror})") from error
        try:
            if not _locked(file):
                raise StudyLockedError(_refusal(folder, _owner(file)))
            if not _is_at(folder / LOCK, file):
                raise StudyLockedError(
                    f"{folder}: another launcher has just put this study aside (--fresh). "
                    "Run the command again to continue with the new one"
                )
            owner = _owner(file)
            if owner is not None:
                if _lives(owner, file, watch_s, sleep):
                    raise StudyLockedError(_refusal(folder, owner))
                log.warning("%s: %s exited unexpectedly and left the study", folder, owner)
            _claim(folder, file, sleep)
            return cls(file)
        except BaseException:
            os.close(file)
            raise

    def release(self) -> None:
        """Release the lock and empty the file, so that the next owner sees a graceful shutdown."""
        with self._guard:
            self._released.set()
            try:
                _write(self._file, "")
            except OSError as error:  # the next owner will find a dead one
                log.warning("the lock could not be emptied (%s)", error.strerror)
            os.close(self._file)

    def _send_heartbeats(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            with self._guard:
                if not self._released.is_set():
                    _touch(self._file)


def is_locked(folder: Path) -> bool:
    """Whether a living process runs the study in `folder`; no heartbeat is awaited."""
    path = folder / LOCK
    if not path.exists():
        return False
    file = os.open(path, os.O_RDONLY)  # the study may be another user's
    try:
        flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        owner = _owner(file)
        return owner is not None and owner.is_alive
    except BlockingIOError:
        return True
    finally:
        os.close(file)


def owner_elsewhere(folder: Path) -> ProcessIdentity | None:
    """The process on another machine that has not released the study; it may have ended meanwhile."""
    path = folder / LOCK
    if not path.exists():
        return None
    file = os.open(path, os.O_RDONLY)
    try:
        owner = _owner(file)
        return None if owner is None or owner.is_here else owner
    finally:
        os.close(file)


def flock(file: int, how: int) -> bool:
    """Lock a file; returns False if the file system has no locks, so that any process may go ahead.

    Args:
        file: its descriptor.
        how: as in `fcntl.flock`.

    Raises:
        BlockingIOError: another process has the lock.
    """
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _locked(file: int) -> bool:
    """Take `flock`, with retries, since `is_locked` of another process holds it for a moment."""
    for attempt in range(3):
        try:
            if not flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                log.warning("this file system has no locks; the owner named in %r decides", LOCK)
            return True
        except BlockingIOError:
            time.sleep(0.05 * (attempt + 1))
    return False


def _is_at(path: Path, file: int) -> bool:
    """Whether an open file is still the one at `path`; its folder may have been renamed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _claim(folder: Path, file: int, sleep: Callable[[float], None]) -> None:
    """Write our identity, and check after `SETTLE_S` that it is still in the file.

    Raises:
        StudyLockedError: another process wrote its identity at the same moment.
    """
    own = json.dumps(dataclasses.asdict(ProcessIdentity.own()))
    _write(file, own)
    sleep(SETTLE_S)
    path = folder / LOCK
    # Opened again: network file systems guarantee fresh content only for a new open.
    if not _is_at(path, file) or path.read_text(errors="replace") != own:
        raise StudyLockedError(_refusal(folder, _owner(file)))


def _touch(file: int) -> None:
    try:
        os.utime(file)
    except OSError as error:  # the storage is unavailable for now
        log.debug("the heartbeat could not be written: %s", error)


def _owner(file: int) -> ProcessIdentity | None:
    text = os.pread(file, 1000, 0).decode(errors="replace")
    try:
        return ProcessIdentity.read(json.loads(text)) if text.strip() else None
    except ValueError:
        return None


def _lives(
    owner: ProcessIdentity, file: int, watch_s: float, sleep: Callable[[float], None]
) -> bool:
    if owner.is_here:
        return owner.is_alive and owner != ProcessIdentity.own()
    log.warning("waiting for a heartbeat of %s, which has not released the study", owner)
    before = os.fstat(file).st_mtime_ns
    waited = 0.0
    while waited < watch_s:
        sleep(1.0)
        waited += 1.0
        if os.fstat(file).st_mtime_ns != before:
            return True
    return False


def _refusal(folder: Path, owner: ProcessIdentity | None) -> str:
    return (
        f"{folder}: this study is already running ({owner or 'owner unknown'}). "
        "Wait for it, or choose another --name"
    )


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)
    os.fsync(file)
