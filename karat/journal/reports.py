"""The reported epochs of a trial, stored as rows of numbers.

A study of 500 trials has 50,000 reports with a million values. As objects they take hundreds of
megabytes in a driver that runs for days; as numbers, 8 bytes per value.
"""

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import overload


@dataclass(frozen=True, slots=True)
class Report:
    """One epoch of a trial: epochs done (from 1), metrics, its seconds, and the time of the report."""

    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    time: float


class Reports(Sequence[Report]):
    """Reports in the order of arrival; a `Report` object is created at each access.

    A metric that a report lacks is NaN in its row. No report has NaN as a value, since the journal
    refuses it. Almost all reports of a trial have the same metrics: such a row is added at once,
    not metric by metric, since a driver that resumes reads all of them again.
    """

    __slots__ = ("_epochs", "_names", "_rows", "_seconds", "_times", "total_seconds")

    def __init__(self) -> None:
        self._epochs = array("q")
        self._seconds, self._times = array("d"), array("d")
        self._names: tuple[str, ...] = ()
        self._rows = array("d")  # of `len(self._names)` values each, one after the other
        self.total_seconds = 0.0

    def add(self, epoch: int, metrics: Mapping[str, float], seconds: float, time: float) -> None:
        """Append a report."""
        if tuple(metrics) == self._names:
            row = array("d", metrics.values())
        else:
            self._widen(metrics)
            row = array("d", [metrics.get(name, math.nan) for name in self._names])
        self._rows += row
        self._epochs.append(epoch)
        self._seconds.append(seconds)
        self._times.append(time)
        self.total_seconds += seconds

    def _widen(self, metrics: Mapping[str, float]) -> None:
        """Make room in every row for metrics that no report has had so far."""
        new = [name for name in metrics if name not in self._names]
        if not new:
            return
        width, missing = len(self._names), array("d", [math.nan]) * len(new)
        rows = array("d")
        for place in range(len(self)):
            rows += self._rows[place * width : (place + 1) * width] + missing
        self._names, self._rows = _shared((*self._names, *new)), rows

    def up_to(self, epoch: int) -> "Reports":
        """The reports up to and including an epoch."""
        kept = [each <= epoch for each in self._epochs]
        if all(kept):
            return self
        found = Reports()
        for report in compress(self, kept):
            found.add(report.epoch, report.metrics, report.seconds, report.time)
        return found

    def last(self, metric: str) -> float | None:
        """The metric at the last epoch that reported it."""
        if metric not in self._names:
            return None
        width = len(self._names)
        last = len(self._rows) - width + self._names.index(metric)
        values = (self._rows[place] for place in range(last, -1, -width))
        return next((value for value in values if not math.isnan(value)), None)

    def values(self, metric: str) -> Sequence[float]:
        """The metric at each report, NaN where one lacks it; without creating any `Report`."""
        if metric not in self._names:
            return array("d", [math.nan]) * len(self)
        return self._rows[self._names.index(metric) :: len(self._names)]

    @property
    def epochs(self) -> Sequence[int]:
        """Epochs done at each report."""
        return self._epochs

    @property
    def times(self) -> Sequence[float]:
        """The time of each report."""
        return self._times

    def __len__(self) -> int:
        return len(self._epochs)

    @overload
    def __getitem__(self, place: int) -> Report: ...

    @overload
    def __getitem__(self, place: slice) -> list[Report]: ...

    def __getitem__(self, place: int | slice) -> Report | list[Report]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        epoch, width = self._epochs[place], len(self._names)
        begin = width * range(len(self))[place]
        values = self._rows[begin : begin + width]
        metrics = dict(zip(self._names, values, strict=True))
        if math.isnan(sum(values)):  # the sum of infinities may be NaN too
            metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
        return Report(epoch, metrics, self._seconds[place], self._times[place])

    def __iter__(self) -> Iterator[Report]:
        return self.since(0)

    def since(self, place: int) -> Iterator[Report]:
        """The reports from a place on; faster than one access for each."""
        if math.isnan(sum(self._rows)):  # some report may lack a metric
            yield from (self[each] for each in range(place, len(self)))
            return
        names, rows, width = self._names, self._rows, len(self._names)
        for each in range(place, len(self)):
            begin = each * width
            metrics = dict(zip(names, rows[begin : begin + width], strict=True))
            yield Report(self._epochs[each], metrics, self._seconds[each], self._times[each])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(Report.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Reports({list(self)!r})"


@lru_cache(maxsize=256)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each decoded line has new name strings; interned, all trials share one tuple."""
    return tuple(map(sys.intern, names))
