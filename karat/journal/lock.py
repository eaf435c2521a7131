"""One writer for each study: a lock that tells a living owner from a dead one.

The file `lock` is locked by `flock` for as long as its owner lives, and names the owner: host,
process and start. Where the file system honours `flock`, that is all. Where it does not (some
network file systems take it on each machine alone, or not at all), the name decides: an owner
on this machine is looked up; one on another machine gives a sign of life every few seconds, in
the file's modification time, which is watched. No two clocks are compared. Two who come at once
see by whose name stays that only one of them is the owner.
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
from karat.system.processes import ProcessIdentity

SIGN_OF_LIFE_S = 5.0
WATCH_S = 20.0  # file systems of other machines show a new time up to some seconds late
SETTLE_S = 0.5  # for a name to be seen by who came at the same moment
# What a file system says that has no locks: Lustre without `-o flock`, NFS without a lock daemon.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
log = logging.getLogger(__name__)


class StudyLock:
    """The lock of a study's folder, held from `take` to `release` or the end of the process."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._released, self._guard = threading.Event(), threading.Lock()
        threading.Thread(target=self._show_life, name="study-lock", daemon=True).start()

    @classmethod
    def take(
        cls, folder: Path, watch_s: float = WATCH_S, sleep: Callable[[float], None] = time.sleep
    ) -> "StudyLock":
        """Take the lock.

        Args:
            folder: the study's.
            watch_s: how long an owner on another machine is watched for a sign of life.
            sleep: waits for so many seconds.

        Raises:
            StudyLockedError: a living process holds it, whom the message names, or has put the
                folder aside meanwhile.
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
                    f"{folder}: another launcher has put this study aside at this moment. "
                    "Run the command again, if that one is not to go on"
                )
            owner = _owner(file)
            if owner is not None:
                if _lives(owner, file, watch_s, sleep):
                    raise StudyLockedError(_refusal(folder, owner))
                log.warning("%s: %s ended without a word; going on", folder, owner)
            _claim(folder, file, sleep)
            return cls(file)
        except BaseException:
            os.close(file)
            raise

    def release(self) -> None:
        """Give the lock back: the next owner sees that this one left in good order."""
        with self._guard:
            self._released.set()
            try:
                _write(self._file, "")
            except OSError as error:  # the next owner sees a dead one then
                log.warning("the lock could not be emptied (%s)", error.strerror)
            os.close(self._file)

    def _show_life(self) -> None:
        while not self._released.wait(SIGN_OF_LIFE_S):
            with self._guard:
                if not self._released.is_set():
                    _touch(self._file)


def is_locked(folder: Path) -> bool:
    """Whether a living process is running the study in `folder`; its owner on this machine is looked up."""
    path = folder / LOCK
    if not path.exists():
        return False
    file = os.open(path, os.O_RDWR)
    try:
        flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        owner = _owner(file)
        return owner is not None and owner.is_alive
    except BlockingIOError:
        return True
    finally:
        os.close(file)


def flock(file: int, how: int) -> bool:
    """Lock a file; False where the file system has no locks, and so gives them to everybody.

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
    """Take `flock`; tried again, since somebody may only be looking (`is_locked`)."""
    for attempt in range(3):
        try:
            if not flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                log.warning("this file system has no locks; the name in %r decides", LOCK)
            return True
        except BlockingIOError:
            time.sleep(0.05 * (attempt + 1))
    return False


def _is_at(path: Path, file: int) -> bool:
    """Whether an open file is still the one at `path`: its folder may have been renamed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _claim(folder: Path, file: int, sleep: Callable[[float], None]) -> None:
    """Write our name, and see whether it stays.

    Raises:
        StudyLockedError: another process came at the same moment, and wrote its own.
    """
    own = json.dumps(dataclasses.asdict(ProcessIdentity.own()))
    _write(file, own)
    sleep(SETTLE_S)
    path = folder / LOCK
    # Opened anew, since network file systems promise a fresh answer for that alone.
    if not _is_at(path, file) or path.read_text(errors="replace") != own:
        raise StudyLockedError(_refusal(folder, _owner(file)))


def _touch(file: int) -> None:
    try:
        os.utime(file)
    except OSError as error:  # the storage is away for now
        log.debug("no sign of life could be given: %s", error)


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
    log.warning("watching for a sign of life of %s, which has not given the study back", owner)
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
        f"{folder}: this study is being run already ({owner or 'owner unknown'}). "
        "Wait for it, or choose another --name"
    )


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)
    os.fsync(file)
