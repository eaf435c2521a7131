"""The pause file, in which a driver asks its workers to write a checkpoint and stop.

A file in the study's folder reaches every worker, whichever cluster started it. The file exists
from the start, and every look opens it again: NFS guarantees current content only after an open
(close-to-open consistency).
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from karat.system.files import open_regular

GO, PAUSE = "go", "pause"
LOOK_EVERY_S = 0.5


def write(path: Path, request: str) -> None:
    """Write `GO` or `PAUSE` for the workers that read `path`; safe in a signal handler."""
    # Plain system calls: a signal may interrupt code that holds a lock of Python's file objects.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, request.encode())
        os.fsync(file)
    finally:
        os.close(file)


def reader(path: Path, clock: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """A function that returns whether a pause is requested, cheap enough for every training step.

    Args:
        path: the pause file; a missing one requests no pause.
        clock: seconds; the file is read at most once every `LOOK_EVERY_S`.
    """
    last, answer = -LOOK_EVERY_S, False

    def should_pause() -> bool:
        nonlocal last, answer
        now = clock()
        if now - last >= LOOK_EVERY_S:
            last = now
            try:
                with open_regular(path) as file:
                    answer = file.read(len(PAUSE) + 1) == PAUSE.encode()
            except FileNotFoundError:
                answer = False
        return answer

    return should_pause
