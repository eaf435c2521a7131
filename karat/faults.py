"""Places at which a test can put a fault; without `KARAT_FAULT` they do nothing.

`KARAT_FAULT="reported.before@3=kill:/tmp/once"`: at the third time that a process comes to
`reported.before` it is killed, unless the file is there, which is made first: so the fault
happens once, however many processes come by. Actions: `kill` (SIGKILL), `full` (OSError, no
space left on device), `memory` (MemoryError), `hang`.

Places: every kind of event with `.before` (not on disk), `.written` (on disk, without effect) and
`.after`; `journal.torn` (half of a line is on disk); `checkpoint.write.before`;
`checkpoint.rename` and `checkpoint.manifest` with `.before` and `.after`; `step.before`;
`view.push.before` and `.after`.
"""

import errno
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

_PATTERN = re.compile(r"(?P<place>[a-z_.]+)@(?P<count>\d+)=(?P<action>[a-z]+):(?P<once>.+)")
_times: Counter[str] = Counter()
_fault: re.Match[str] | None = None


def use(text: str) -> None:
    """Take a fault as `KARAT_FAULT` has it, in place of the one before; nothing for none.

    Raises:
        ValueError: it is written wrongly.
    """
    global _fault
    _times.clear()
    _fault = _PATTERN.fullmatch(text)
    if text and _fault is None:
        raise ValueError(f"KARAT_FAULT = {text!r}: must be PLACE@COUNT=ACTION:FILE")


def at(place: str) -> None:
    """Let the fault happen if it belongs here and now."""
    if due(place):
        happen()


def due(place: str) -> bool:
    """Whether the fault is to happen here and now; counts the visit."""
    if _fault is None or _fault["place"] != place:
        return False
    _times[place] += 1
    if _times[place] != int(_fault["count"]):
        return False
    try:
        Path(_fault["once"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def happen() -> None:
    """The fault itself."""
    assert _fault is not None
    action = _fault["action"]
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif action == "memory":
        raise MemoryError("a fault that a test put here")
    elif action == "hang":
        time.sleep(3600)


use(os.environ.get("KARAT_FAULT", ""))
