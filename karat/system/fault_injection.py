"""Places in the code where a test can inject a fault; without `KARAT_FAULT` they do nothing.

`KARAT_FAULT="reported.before@3=kill:/tmp/once"` kills a process when it reaches the place
`reported.before` for the third time. The process creates the file first, and a process that finds
the file does nothing: the fault occurs once, in one process. `/tmp/once*4` allows four faults, in
four processes. Several faults, each at a place of its own, are separated by spaces.

`step.before=wait:0.5` waits for half a second each time: a study that has to last takes no processor time.

Actions: `kill` (SIGKILL), `full` and `readonly` (OSError of a full or a read-only disk), `memory`
(MemoryError), `hang`; for the place `metrics`: `nan`, `inf` or `missing` for the search metric.

| place | reached |
|---|---|
| KIND`.before`, `.written`, `.after` | before an event is on disk, before it has an effect, after it; for every kind of event |
| `journal.torn` | with half of a line of the journal on disk |
| `checkpoint.write.before` | before a checkpoint is written |
| `checkpoint.rename.before`, `.after` | around the renaming of each of its files |
| `checkpoint.manifest.before`, `.after` | around the writing of its manifest |
| `step.before`, `trial7.step` | before an epoch of any trial, of trial 7 |
| `rank1.batch` | before a batch on rank 1 of a trial |
| `loader` | when a data loading process starts |
| `metrics` | when the metrics of an epoch are known |
| `view.push.before`, `.after` | around a write to MLflow |
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
_WAIT = re.compile(r"(?P<place>[a-z0-9_.]+)=wait:(?P<seconds>\d+(\.\d+)?)")
_times: Counter[str] = Counter()
_faults: dict[str, re.Match[str]] = {}
_waits: dict[str, float] = {}


def use(text: str) -> None:
    """Replace the faults by those in the format of `KARAT_FAULT`; an empty text removes them.

    Raises:
        ValueError: the text does not have that format.
    """
    _times.clear()
    _faults.clear()
    _waits.clear()
    for each in text.split():
        if wait := _WAIT.fullmatch(each):
            _waits[wait["place"]] = float(wait["seconds"])
            continue
        fault = _PATTERN.fullmatch(each)
        if fault is None:
            raise ValueError(
                f"KARAT_FAULT = {each!r}: must be PLACE@COUNT=ACTION:FILE or PLACE=wait:SECONDS"
            )
        _faults[fault["place"]] = fault


def at(place: str) -> None:
    """Wait if that is asked for at this place, and trigger the fault if it is due."""
    if place in _waits:
        time.sleep(_waits[place])
    if is_due(place):
        trigger(place)


def is_due(place: str) -> bool:
    """Whether the fault is due at this place; counts the visit."""
    fault = _faults.get(place)
    if fault is None:
        return False
    _times[place] += 1
    if _times[place] != int(fault["count"]):
        return False
    for number in range(int(fault["times"] or 1)):
        try:
            # An exclusive creation is atomic, so that of two processes only one gets the fault.
            Path(fault["once"] + (f".{number}" if number else "")).touch(exist_ok=False)
            return True
        except FileExistsError:
            continue
    return False


def corrupt_metric(place: str, metrics: dict[str, float], metric: str) -> dict[str, float]:
    """The metrics of an epoch; if the fault is due, `metric` is missing, NaN or infinite."""
    if not is_due(place):
        return metrics
    others = {name: value for name, value in metrics.items() if name != metric}
    action = _faults[place]["action"]
    return others if action == "missing" else {**others, metric: float(action)}


def trigger(place: str) -> None:
    """Perform the action of the fault at this place."""
    action = _faults[place]["action"]
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action in ("full", "readonly"):
        number = errno.ENOSPC if action == "full" else errno.EROFS
        raise OSError(number, os.strerror(number))
    elif action == "memory":
        raise MemoryError("a fault that a test injected")
    elif action == "hang":
        time.sleep(3600)


use(os.environ.get("KARAT_FAULT", ""))
