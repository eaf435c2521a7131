"""Which trial ran when, and on which slot."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from karat.journal.state import StudyState
from karat.journal.trial import Phase
from karat.journal.usage import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in which a trial had a worker.

    Args:
        trial, arm, phase: of it.
        row: from 0: its slot; where the journal names none, the first one that is free.
        begin, end: seconds since the first span began, without the time between launches.
    """

    trial: int
    arm: str
    phase: Phase
    row: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The spans of a study, in the order of their begins.

    Args:
        spans: at least one.
        rows: number of rows.
        has_slots: whether the rows are slots, as the journal names them.
        launches: where later launches began, on the same clock as the spans.
        seconds: from the first begin to the last end.
    """

    spans: tuple[Span, ...]
    rows: int
    has_slots: bool
    launches: tuple[float, ...]
    seconds: float


def timeline_of(state: StudyState) -> Timeline | None:
    """The spans of all trials, of all phases, also of those that were set aside."""
    held = sorted(state.usage.held(), key=lambda each: (each.begin, each.trial))
    if not held:
        return None
    has_slots = all(each.slot is not None for each in held)
    rows = [each.slot or 0 for each in held] if has_slots else list(_packed(held))
    names = {row: place for place, row in enumerate(sorted(set(rows)))}
    pauses = list(_pauses(held, [launch.time for launch in state.launches]))
    start = held[0].begin

    def clock(time: float) -> float:
        return time - start - sum(length for begin, length in pauses if begin < time)

    spans = tuple(
        Span(
            trial=each.trial,
            arm=state.trials[each.trial].arm,
            phase=state.trials[each.trial].phase,
            row=names[row],
            begin=clock(each.begin),
            end=clock(each.end),
        )
        for each, row in zip(held, rows, strict=True)
    )
    return Timeline(
        spans=spans,
        rows=len(names),
        has_slots=has_slots,
        launches=tuple(clock(begin) for begin, _ in pauses),
        seconds=max(span.end for span in spans),
    )


def _packed(held: Sequence[Held]) -> Iterator[int]:
    """A row for each span, so that none is on another."""
    busy: list[tuple[float, int]] = []  # the end of the last span of each row that is taken
    free: list[int] = []
    for each in held:
        while busy and busy[0][0] <= each.begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        row = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (each.end, row))
        yield row


def _pauses(held: Sequence[Held], launches: Sequence[float]) -> Iterator[tuple[float, float]]:
    """(begin, length) of each time between the last span before a launch and the first one after it."""
    ends = [held[0].end]
    for each in held[1:]:
        ends.append(max(ends[-1], each.end))
    for place, (_, after) in enumerate(pairwise(held)):
        is_new = any(ends[place] <= launch <= after.begin for launch in launches)
        if is_new and after.begin > ends[place]:
            yield ends[place], after.begin - ends[place]
