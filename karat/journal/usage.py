"""The usage of a study, folded from its events: CPU and GPU hours, wall-clock hours, US dollars.

A segment counts from the start of its worker to its end, with the resources and prices of its
launch, or with its share of a GPU if the event has one. A launch counts from `launched` to its last
event. Not counted are the time between launches and the time of a killed driver after its last
event.
"""

from array import array
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from karat.causes import SegmentEnd
from karat.journal.journal import Event
from karat.space.rates import Spent, Terms


class Held(NamedTuple):
    """That a segment of a trial had a worker: from when to when (seconds since the epoch), and on which slot.

    `slot` is None where the journal does not say, as on clusters.
    """

    trial: int
    slot: int | None
    begin: float
    end: float


class Usage:
    """Sums the usage. Call `apply` once per event, in order; `terms` are those of the last launch."""

    def __init__(self) -> None:
        self.terms = Terms()
        self._spent = Spent()  # of segments and launches that have ended
        self._slot_s = 0.0
        self._began: float | None = None
        self._last = 0.0
        self._running: dict[int, float] = {}
        self._waiting: set[int] = set()  # trials whose segment has no worker yet
        self._gpus: dict[int, float] = {}  # of each trial's last segment, if its event has them
        self._slots: dict[int, int] = {}  # the same
        # Of each segment that has ended, four numbers: a study may have a million of them.
        self._held = array("d")

    def apply(self, event: Event) -> None:
        """Add an event."""
        data, trial = event.data, event.data.get("trial", -1)
        if event.kind == "launched":
            self.end_launch()
            self.terms = Terms(**data.get("terms", {}))
            self._began = self._last = event.time
        elif self._began is None:
            return  # between launches
        elif event.kind == "interrupted":
            self._see(event)
            self.end_launch()
        elif event.kind == "study_ended":
            self.end_launch()
        elif event.kind in ("segment_started", "segment_placed", "reported"):
            self._see(event)
            if event.kind == "segment_started":
                self._start(trial, data)
            if trial in self._waiting and data.get("placed", True):
                self._waiting.remove(trial)
                self._running[trial] = event.time
        elif event.kind in ("segment_ended", "trial_ended"):
            self._waiting.discard(trial)
            if trial not in self._running:
                return
            if not _is_written_later(event):
                self._see(event)
            self._end(trial)

    def until(self, now: float | None = None) -> Spent:
        """The usage up to the time `now` (seconds since the epoch), by default up to the last event."""
        if self._began is None:
            return self._spent
        at = self._last if now is None else max(now, self._last)
        held = {trial: max(0.0, at - start) for trial, start in list(self._running.items())}
        gpu_s = sum(self.gpus_of(trial) * seconds for trial, seconds in held.items())
        return self._spent + self.terms.price(sum(held.values()), at - self._began, gpu_s)

    def gpus_of(self, trial: int) -> float:
        """GPUs of a trial's last segment, by default those of every trial."""
        return self._gpus.get(trial, self.terms.gpus)

    def held(self) -> Iterator[Held]:
        """All segments that had a worker, those that run last; these up to the last event."""
        for place in range(0, len(self._held), 4):
            trial, slot, begin, end = self._held[place : place + 4]
            yield Held(int(trial), None if slot < 0 else int(slot), begin, end)
        for trial, begin in self._running.items():
            yield Held(trial, self._slots.get(trial), begin, max(begin, self._last))

    @property
    def running(self) -> int:
        """The number of segments with a worker now."""
        return len(self._running)

    def slot_seconds(self, now: float) -> float:
        """Seconds of all segments together, up to the time `now`."""
        return self._slot_s + sum(max(0.0, now - start) for start in self._running.values())

    def _see(self, event: Event) -> None:
        self._last = max(self._last, event.time)

    def _start(self, trial: int, data: Mapping[str, Any]) -> None:
        self._waiting.add(trial)
        self._gpus.pop(trial, None)
        if "gpus" in data:
            self._gpus[trial] = data["gpus"]
        self._slots.pop(trial, None)
        if "slot" in data:
            self._slots[trial] = data["slot"]

    def _end(self, trial: int) -> None:
        begin = self._running.pop(trial)
        seconds = max(0.0, self._last - begin)
        self._held.extend((trial, self._slots.get(trial, -1), begin, begin + seconds))
        self._slot_s += seconds
        self._spent += self.terms.price(seconds, gpu_s=self.gpus_of(trial) * seconds)

    def end_launch(self) -> None:
        """End the launch at its last event; does nothing between launches."""
        if self._began is None:
            return
        for trial in list(self._running):
            self._end(trial)
        self._waiting.clear()
        self._spent += self.terms.price(0.0, self._last - self._began)
        self._began = None


def _is_written_later(event: Event) -> bool:
    """Whether the next driver may have written the event, so that its time is too late.

    This holds for a segment whose driver was killed, and for a trial whose last report was written
    but not its end.
    """
    if event.kind == "segment_ended":
        return bool(event.data["cause"] == SegmentEnd.DRIVER_GONE)
    return bool(event.data["status"] != "failed")
