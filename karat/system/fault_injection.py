"""Places at which a test can put a fault; without `KARAT_FAULT` they do nothing.

`KARAT_FAULT="reported.before@3=kill:/tmp/once"`: at the third time that a process comes to
`reported.before` it is killed, unless the file is there, which is made first: so the fault
happens once, however many processes come by; with `/tmp/once*4` four times, in four processes.
Actions: `kill` (SIGKILL), `full` and `readonly` (OSError, as of a full or a read-only disk),
`memory` (MemoryError), `hang`; for the place `metrics`: `nan`, `inf` or `missing` instead of the
search's metric.

Places: every kind of event with `.before` (not on disk), `.written` (on disk, without effect) and
`.after`; `journal.torn` (half of a line is on disk); `checkpoint.write.before`;
`checkpoint.rename` and `checkpoint.manifest` with `.before` and `.after`; `step.before` and
`trial7.step`, an epoch of any trial and of trial 7; `rank1.batch`, a batch in process 1 of a trial;
`loader`, a process that loads data; `metrics`; `view.push.before` and `.after`.
"""

import errno
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

_PATTERN = re.compile(
    r"(?P<place>[a-z0-9_.]+)@(?P<count>\d+)=(?P<action>[a-z]+):(?P<once>[^*]+)(\*(?P<times>\d+))?"
)
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
    if is_due(place):
        trigger()


def is_due(place: str) -> bool:
    """Whether the fault is to happen here and now; counts the visit."""
    if _fault is None or _fault["place"] != place:
        return False
    _times[place] += 1
    if _times[place] != int(_fault["count"]):
        return False
    for time_ in range(int(_fault["times"] or 1)):
        try:
            Path(_fault["once"] + (f".{time_}" if time_ else "")).touch(exist_ok=False)
            return True
        except FileExistsError:
            continue
    return False


def corrupt_metric(place: str, metrics: dict[str, float], metric: str) -> dict[str, float]:
    """Metrics of an epoch, in which the fault may have spoiled `metric`."""
    if not is_due(place):
        return metrics
    assert _fault is not None
    others = {name: value for name, value in metrics.items() if name != metric}
    if _fault["action"] == "missing":
        return others
    return {**others, metric: float(_fault["action"])}


def trigger() -> None:
    """The fault itself."""
    assert _fault is not None
    action = _fault["action"]
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action in ("full", "readonly"):
        number = errno.ENOSPC if action == "full" else errno.EROFS
        raise OSError(number, os.strerror(number))
    elif action == "memory":
        raise MemoryError("a fault that a test put here")
    elif action == "hang":
        time.sleep(3600)


use(os.environ.get("KARAT_FAULT", ""))
