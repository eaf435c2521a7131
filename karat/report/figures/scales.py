"""From values to places on an axis: ranges, ticks, and lines cut where an axis ends."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from karat.report.figures.svg import Point

_STEPS = (1, 2, 5, 10)
_FAR = 6.0  # so many times the distance of the quartiles from them, a value is far off


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis.

    Args:
        low, high: its ends, which differ.
        start, stop: their coordinates.
        log: whether it is logarithmic; both ends are then above 0.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def has(self, value: float) -> bool:
        """Whether a value is on the axis."""
        return self.low <= value <= self.high

    def ticks(self, most: int) -> list[float]:
        """At most `most` round values (but two, if there is room for no step), increasing."""
        return _log_ticks(self, most) if self.log else _linear_ticks(self.low, self.high, most)


def tick_text(value: float) -> str:
    """A value beside its tick."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, power = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(power)}" if power else mantissa
    return f"{value:,.10g}"


def range_of(
    values: Iterable[float], *, share: bool = False, least: float = 0.0
) -> tuple[float, float]:
    """The ends of an axis that shows finite values with some room around them.

    Args:
        values: at least one.
        share: whether they are percentages, for which there is nothing below 0 and above 100.
        least: distance of the ends.
    """
    every = list(values)
    low, high = min(every), max(every)
    room = max(0.07 * (high - low), (least - (high - low)) / 2, 1e-9 * max(1.0, abs(high)))
    bottom, top = low - room, high + room
    if share or low >= 0:
        bottom = max(0.0, bottom)
    if share:
        top = min(100.0, top)
    return (bottom, top) if top > bottom else (bottom - 1.0, top)


def most_of(values: Iterable[float]) -> list[float]:
    """The values without those that are so far off that all others would look alike."""
    every = sorted(values)
    if len(every) < 4:
        return every
    low, high = every[len(every) // 4], every[len(every) - 1 - len(every) // 4]
    room = _FAR * (high - low)
    return [value for value in every if low - room <= value <= high + room] if room else every


def cut(
    points: Sequence[Point], left: float, top: float, right: float, bottom: float
) -> list[list[Point]]:
    """A line through points, in the parts of it that lie in a box (Liang and Barsky 1984)."""
    parts: list[list[Point]] = []
    for (x1, y1), (x2, y2) in pairwise(points):
        enter, leave = 0.0, 1.0
        for delta, room in (
            (x1 - x2, x1 - left), (x2 - x1, right - x1), (y1 - y2, y1 - top), (y2 - y1, bottom - y1)
        ):  # fmt: skip
            if delta == 0:
                if room < 0:
                    leave = -1.0
            elif delta < 0:
                enter = max(enter, room / delta)
            else:
                leave = min(leave, room / delta)
        if enter > leave:
            continue
        first = (x1 + enter * (x2 - x1), y1 + enter * (y2 - y1))
        last = (x1 + leave * (x2 - x1), y1 + leave * (y2 - y1))
        if parts and enter == 0 and parts[-1][-1] == first:
            parts[-1].append(last)
        else:
            parts.append([first, last])
    return parts


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    least = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(least))
    at = next(n for n, each in enumerate(_STEPS) if each * power >= least * (1 - 1e-9))
    first = last = 0
    while last <= first and at >= -1:  # at least two ticks, if a finer step gives them
        step = (_STEPS[at] if at >= 0 else 0.5) * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        at -= 1
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(place * step, digits) + 0.0 for place in range(first, last + 1)]


def _log_ticks(scale: Scale, most: int) -> list[float]:
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    for factors in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [
            float(f"{factor}e{power}")
            for power in range(first, last + 1)
            for factor in factors
            if scale.low * (1 - 1e-9) <= factor * 10.0**power <= scale.high * (1 + 1e-9)
        ]
        if 2 <= len(ticks) <= most:
            return ticks
    if len(ticks) > most:
        return ticks[:: math.ceil(len(ticks) / most)]
    return _linear_ticks(scale.low, scale.high, most)
