"""Converts events of version 1, which had sentences instead of cause codes.

Old journals stay readable, and new events are appended in the present version. No other module
knows these sentences. An unknown sentence is kept in the details as `text`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from karat.causes import Failure, Interrupt, Loss, SearchCut, SegmentEnd, Skip, Stop, StudyFailure

Data = Mapping[str, Any]
_RAISED = re.compile(r"(?P<type>\w+): (?P<message>.*) \((?P<place>[^()]+:\d+)\)")
_MISSING = re.compile(r"(?P<missing>\S+) is missing at epoch (?P<epoch>\d+)")
_LOST = re.compile(r"its worker was lost (?P<times>\d+) times(?:; the last time: (?P<last>.*))?")
_PAUSED = re.compile(r"paused (?:after|within) epoch (?P<epoch>\d+)(?:, after step (?P<step>\d+))?")
_STOPPED = re.compile(r"early stopping at epoch (?P<epoch>\d+)")
_SPENT = re.compile(r"budget\.(?P<limit>\w+) = (?P<of>\S+) is spent \((?P<spent>\S+)\)")
_UNWRITTEN = re.compile(
    r"checkpoints of (?P<trials>\d+) trials in a row could not be written, the last: (?P<last>.*)"
)
_CUT = re.compile(
    r"of budget\.(?P<limit>\w+) = (?P<of>\S+) there are (?P<left>\S+) left, and another search trial "
    r"and the confirmation may take (?P<needed>\S+)"
)
_SAME_ERROR = re.compile(
    r"(?P<trials>\d+) trials in a row failed with the same error: (?P<error>.*)"
)
_DRIVER_GONE = "the driver ended without a word"
_WORKER_DIED = "its worker process died"
_EXTENDED = "the study was extended to longer trials"
_NOTHING_COMPLETED = "no trial was completed"


def modern(kind: str, data: Data) -> Data:
    """Convert the data of an event of version 1 to the present version."""
    change = _CHANGES.get(kind)
    return data if change is None else change(data)


def _segment_ended(data: Data) -> Data:
    text, kept = data.get("detail", ""), _without(data, "detail")
    if data["cause"] != SegmentEnd.INTERRUPTED:
        return _with(kept, data["cause"], _failure(data["cause"], text))
    if text in (_DRIVER_GONE, ""):
        return _with(kept, SegmentEnd.DRIVER_GONE)
    if found := _PAUSED.fullmatch(text):
        epoch, step = int(found["epoch"]), int(found["step"] or 0)
        # The sentence counts the unfinished epoch; `epoch` is the number of finished ones.
        return _with(kept, SegmentEnd.PAUSED, {"epoch": epoch - bool(step), "step": step})
    if text in (Interrupt.BUDGET, Interrupt.DISK):
        return _with(kept, SegmentEnd.INTERRUPTED, {"by": text})
    if text.startswith("SIG"):
        return _with(kept, SegmentEnd.INTERRUPTED, {"by": Interrupt.SIGNAL.value, "signal": text})
    return _with(kept, SegmentEnd.CHECKPOINT, _failure(Failure.CHECKPOINT, text))


def _trial_ended(data: Data) -> Data:
    text, kept = data["reason"], _without(data, "reason")
    if data["status"] == "completed":
        return kept
    if data["status"] == "failed":
        return _with(kept, data.get("cause", ""), _failure(data.get("cause", ""), text))
    if text == _EXTENDED:
        return _with(kept, Stop.EXTENDED)
    found = _STOPPED.fullmatch(text)
    return _with(
        kept, Stop.EARLY_STOPPING, {"epoch": int(found["epoch"])} if found else {"text": text}
    )


def _failure(cause: str, text: str) -> Data:
    """Details of a failure. A sentence that is only shown stays a sentence."""
    if cause == Failure.ERROR and (found := _RAISED.fullmatch(text)):
        return found.groupdict()
    if cause == Failure.ERROR and (found := _MISSING.fullmatch(text)):
        return {"missing": found["missing"], "epoch": int(found["epoch"])}
    if cause == Failure.CHECKPOINT:
        return {"message": text}
    if cause == Failure.LOST and text in (_WORKER_DIED, ""):
        return {"what": Loss.WORKER.value}
    if cause == Failure.LOST and (found := _LOST.fullmatch(text)):
        last = {"what": Loss.WORKER.value} if found["last"] is None else {"text": found["last"]}
        return {"times": int(found["times"]), "last": last}
    return {"text": text}


def _interrupted(data: Data) -> Data:
    signal, text = data["signal"], data.get("reason", "")
    if signal == Interrupt.BUDGET:
        found = _SPENT.fullmatch(text)
        details = {**found.groupdict(), **_numbers(found, "of", "spent")} if found else {}
        return _with({}, Interrupt.BUDGET, details or {"text": text or signal})
    if signal == Interrupt.DISK:
        found = _UNWRITTEN.fullmatch(text)
        last = {"trials": int(found["trials"]), "last": {"message": found["last"]}} if found else {}
        return _with({}, Interrupt.DISK, last or {"text": text or signal})
    return _with({}, Interrupt.SIGNAL, {"signal": signal})


def _search_cut(data: Data) -> Data:
    found = _CUT.fullmatch(data["reason"])
    details = {**found.groupdict(), **_numbers(found, "of", "left", "needed")} if found else {}
    return _with({}, SearchCut.BUDGET, details or {"text": data["reason"]})


def _confirmation_planned(data: Data) -> Data:
    skipped = [
        {"label": each["label"], "cause": Skip.NONE_COMPLETED.value} for each in data["skipped"]
    ]
    return {**data, "skipped": skipped}


def _study_ended(data: Data) -> Data:
    text, kept = data["reason"], _without(data, "reason")
    if data["status"] == "completed":
        return kept
    if text == _NOTHING_COMPLETED:
        return _with(kept, StudyFailure.NOTHING_COMPLETED)
    if found := _SAME_ERROR.fullmatch(text):
        error = _failure(Failure.ERROR, found["error"])
        return _with(
            kept, StudyFailure.SAME_ERROR, {"trials": int(found["trials"]), "error": error}
        )
    return _with(kept, StudyFailure.NOTHING_COMPLETED, {"text": text})


def _study_extended(data: Data) -> Data:
    """`by` was text: the space file, or `--extend trials=+20 --extend seeds=5`."""
    options = [each.strip() for each in data["by"].split("--extend ")[1:]]
    return {**_without(data, "by"), "extend": options}


def _with(data: Data, cause: str, details: Data | None = None) -> Data:
    return {**data, "cause": str(cause), **({"details": details} if details else {})}


def _without(data: Data, key: str) -> Data:
    return {name: value for name, value in data.items() if name != key}


def _numbers(found: re.Match[str], *names: str) -> dict[str, float]:
    return {name: float(found[name]) for name in names}


_CHANGES: Mapping[str, Callable[[Data], Data]] = {
    "segment_ended": _segment_ended,
    "trial_ended": _trial_ended,
    "interrupted": _interrupted,
    "search_cut": _search_cut,
    "confirmation_planned": _confirmation_planned,
    "study_ended": _study_ended,
    "study_extended": _study_extended,
}
