"""What a study has used, as a fold over its events: hours of trials on what they take, wall time, money.

A segment is paid for from when its worker has its place to its end, with what trials took and what
that cost when it was launched; or with its own part of a GPU, where it has one. A launch counts from
`launched` to its last sign of life, so the time between launches is free, and so is what a driver
that was killed did not live to write down.
"""

from collections.abc import Mapping
from typing import Any

from karat.causes import SegmentEnd
from karat.journal.journal import Event
from karat.space.rates import Spent, Terms


class Usage:
    """The fold. `apply` each event once, in order; `terms` are those of the last launch."""

    def __init__(self) -> None:
        self.terms = Terms()
        self._spent = Spent()  # by segments and launches that have ended
        self._slot_s = 0.0
        self._began: float | None = None
        self._last = 0.0
        self._running: dict[int, float] = {}
        self._waiting: set[int] = set()  # trials with a segment that has no place yet
        self._gpus: dict[int, float] = {}  # of each trial's last segment, if it has its own part

    def apply(self, event: Event) -> None:
        """Take one event in."""
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
        """What is spent up to a moment, or to the last sign of life of the study."""
        if self._began is None:
            return self._spent
        at = self._last if now is None else max(now, self._last)
        held = {trial: max(0.0, at - start) for trial, start in list(self._running.items())}
        gpu_s = sum(self.gpus_of(trial) * seconds for trial, seconds in held.items())
        return self._spent + self.terms.price(sum(held.values()), at - self._began, gpu_s)

    def gpus_of(self, trial: int) -> float:
        """What a trial's last segment took, or what trials take."""
        return self._gpus.get(trial, self.terms.gpus)

    @property
    def running(self) -> int:
        """How many segments have their place now."""
        return len(self._running)

    def slot_seconds(self, now: float) -> float:
        """Seconds of all segments."""
        return self._slot_s + sum(max(0.0, now - start) for start in self._running.values())

    def _see(self, event: Event) -> None:
        self._last = max(self._last, event.time)

    def _start(self, trial: int, data: Mapping[str, Any]) -> None:
        self._waiting.add(trial)
        self._gpus.pop(trial, None)
        if "gpus" in data:
            self._gpus[trial] = data["gpus"]

    def _end(self, trial: int) -> None:
        seconds = max(0.0, self._last - self._running.pop(trial))
        self._slot_s += seconds
        self._spent += self.terms.price(seconds, gpu_s=self.gpus_of(trial) * seconds)

    def end_launch(self) -> None:
        """The launch has ended, with its last sign of life; one that has ended stays as it is."""
        if self._began is None:
            return
        for trial in list(self._running):
            self._end(trial)
        self._waiting.clear()
        self._spent += self.terms.price(0.0, self._last - self._began)
        self._began = None


def _is_written_later(event: Event) -> bool:
    """Whether the next driver may have written it, so that its time is not when it happened.

    So it is with a segment whose driver was killed, and with a trial whose verdict had been written
    with its last report.
    """
    if event.kind == "segment_ended":
        return bool(event.data["cause"] == SegmentEnd.DRIVER_GONE)
    return bool(event.data["status"] != "failed")
