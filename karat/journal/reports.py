"""A trial's epochs as they were reported, kept as columns of numbers.

A study of 500 trials has 50,000 reports with a million values: as objects they fill hundreds of
megabytes of a driver that lives for days, as columns eight bytes a value.
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
    """One epoch of a trial: epochs done (from 1), metrics, seconds that it took, and when."""

    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    time: float


class Reports(Sequence[Report]):
    """Reports in the order in which they came; each `Report` is made when it is asked for.

    A metric that a report does not have is NaN in its column, which no report can hold: the
    journal refuses it.
    """

    __slots__ = ("_columns", "_epochs", "_seconds", "_times", "total_seconds")

    def __init__(self) -> None:
        self._epochs = array("q")
        self._seconds, self._times = array("d"), array("d")
        self._columns: dict[str, array[float]] = {}
        self.total_seconds = 0.0

    def add(self, epoch: int, metrics: Mapping[str, float], seconds: float, time: float) -> None:
        """Take one more report in."""
        for name in metrics:
            if name not in self._columns:
                # Each line of a journal brings its names anew; all trials share one text.
                column = array("d", [math.nan]) * len(self)
                self._columns[sys.intern(name)] = column
        for name, column in self._columns.items():
            column.append(metrics.get(name, math.nan))
        self._epochs.append(epoch)
        self._seconds.append(seconds)
        self._times.append(time)
        self.total_seconds += seconds

    def up_to(self, epoch: int) -> "Reports":
        """Those of no later epoch."""
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
