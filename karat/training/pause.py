"""What a driver tells its workers while they train: to go on, or to write a checkpoint and leave off.

Told through a file in the study's folder, which every worker sees whatever started it. The file
is there from the start and is opened anew at each look, since network file systems promise a
fresh answer for that alone.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

GO, PAUSE = "go", "pause"
LOOK_EVERY_S = 0.5


def write(path: Path, order: str) -> None:
    """Tell the workers that read `path` to `GO` or to `PAUSE`; safe in a signal's handler."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, order.encode())
        os.fsync(file)
    finally:
        os.close(file)


def reader(path: Path, clock: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """A function that tells whether to pause, cheap enough to be asked at every step.

    Args:
        path: of the orders; none is no order.
        clock: seconds.
    """
    last, answer = -LOOK_EVERY_S, False

    def should_pause() -> bool:
        nonlocal last, answer
        now = clock()
        if now - last >= LOOK_EVERY_S:
            last = now
            try:
                answer = path.read_text() == PAUSE
            except FileNotFoundError:
                answer = False
        return answer

    return should_pause
