"""One command at a time writes what a study's analyses found; results are made by several at once."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from karat.journal.layout import ANALYSES, LOCK
from karat.journal.lock import flock


@contextlib.contextmanager
def alone_writing(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the analyses' pictures and chapter: two writers would delete each other's pictures.

    Args:
        folder: of the study.
        on_wait: called once if another process holds the lock, which is then waited for.

    Raises:
        OSError: the folder cannot be written to.
    """
    own = folder / ANALYSES
    own.mkdir(exist_ok=True)
    lock = os.open(own / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
