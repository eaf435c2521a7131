"""The share of the slots' time in which trials are trained, from the journal of one launch."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from karat.journal.journal import Event

_ENDS = ("segment_ended", "trial_ended")


@dataclass
class _Slot:
    """Segments of a slot: when each ended, and its seconds of training."""

    ends: list[float] = field(default_factory=list)
    trained_s: list[float] = field(default_factory=list)


def slot_use(events: Iterable[Event]) -> float:
    """Share of the slots' time that is training, from the end of each slot's first segment on.

    The first segment waits for a process. A slot's time lasts until no trial is left to start, or
    longer where it still trains: a slot that stands idle while there is work counts as idle.

    Args:
        events: of a journal with one launch, in which each slot has run a segment.

    Raises:
        ValueError: a slot has run none.
    """
    found: dict[int, _Slot] = defaultdict(_Slot)
    running: dict[int, _Slot] = {}
    slots, last_start = 0, 0.0
    for event in events:
        if event.kind == "launched":
            slots = event.data["slots"]
        elif event.kind == "segment_started":
            slot = running[event.data["trial"]] = found[event.data["slot"]]
            slot.trained_s.append(0.0)
            last_start = event.time
        elif event.kind == "reported":
            running[event.data["trial"]].trained_s[-1] += event.data["seconds"]
        elif event.kind in _ENDS and event.data["trial"] in running:
            running.pop(event.data["trial"]).ends.append(event.time)
    if len(found) < slots:
        raise ValueError(f"only {len(found)} of {slots} slots have run a segment")
    trained = sum(sum(slot.trained_s[1:]) for slot in found.values())
    return trained / sum(max(slot.ends[-1], last_start) - slot.ends[0] for slot in found.values())
