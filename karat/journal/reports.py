"""The reported epochs of a trial, stored as columns of numbers.

A study of 500 trials has 50,000 reports with a million values. As objects they take hundreds of
megabytes in a driver that runs for days; as columns, 8 bytes per value.
"""

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

    A metric that a report lacks is NaN in its column. No report has NaN as a value, since the
    journal refuses it.
    """

    __slots__ = ("_columns", "_epochs", "_seconds", "_times", "total_seconds")

    def __init__(self) -> None:
        self._epochs = array("q")
        self._seconds, self._times = array("d"), array("d")
        self._columns: dict[str, array[float]] = {}
        self.total_seconds = 0.0

    def add(self, epoch: int, metrics: Mapping[str, float], seconds: float, time: float) -> None:
        """Append a report."""
        for name in metrics:
            if name not in self._columns:
                # Each decoded line has new name strings; interned, all trials share one.
                column = array("d", [math.nan]) * len(self)
                self._columns[sys.intern(name)] = column
        for name, column in self._columns.items():
            column.append(metrics.get(name, math.nan))
        self._epochs.append(epoch)
        self._seconds.append(seconds)
        self._times.append(time)
        self.total_seconds += seconds

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
        values = reversed(self._columns.get(metric, ()))
        return next((value for value in values if not math.isnan(value)), None)

    def __len__(self) -> int:
        return len(self._epochs)

    @overload
    def __getitem__(self, place: int) -> Report: ...

    @overload
    def __getitem__(self, place: slice) -> list[Report]: ...

    def __getitem__(self, place: int | slice) -> Report | list[Report]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        values = ((name, column[place]) for name, column in self._columns.items())
        metrics = {name: value for name, value in values if not math.isnan(value)}
        return Report(self._epochs[place], metrics, self._seconds[place], self._times[place])

    def __iter__(self) -> Iterator[Report]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(Report.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Reports({list(self)!r})"
