"""A journal that is kept in memory only: for simulations of many studies, of which nobody reads a file."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from karat.journal.journal import Event, Journal


class UnwrittenJournal(Journal):
    """A new journal without a file and without a lock; its events have the same numbers and times.

    Args:
        clock: returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        # Not the parent's: that one opens a file.
        self.past = ()
        self._next, self._clock = 0, clock

    def append(self, kind: str, **data: Any) -> Event:
        """Number and date one event."""
        event = Event(self._next, self._clock(), kind, data)
        self._next += 1
        return event

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
