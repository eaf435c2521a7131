"""The whole numbers within given ranges that bring a cost closest to a target."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from karat.errors import InputError

Values = Mapping[str, int]
MAX_CANDIDATES = 20_000
MAX_MEASURED = 6
AIM = 0.5  # of the deviation that is allowed, at which measuring ends: a measurement is itself off by percents


@dataclass(frozen=True, slots=True)
class Choice:
    """Values of settings, and how near they come.

    Args:
        values: of the settings that are changed.
        cost: with them.
        target: that was wanted, above 0.
    """

    values: Values
    cost: float
    target: float

    @property
    def deviation(self) -> float:
        """By which the cost is above the target, as a share of it; negative below it."""
        return self.cost / self.target - 1

    def is_within(self, share: float) -> bool:
        """Whether the cost deviates by at most this share of the target."""
        return abs(self.deviation) <= share


def candidates(ranges: Mapping[str, tuple[int, int]]) -> int:
    """How many combinations `closest` may have to try at most."""
    return math.prod(high - low + 2 for low, high in ranges.values())


def closest(
    cost_of: Callable[[Values], float],
    ranges: Mapping[str, tuple[int, int]],
    target: float,
    share: float,
) -> Choice:
    """The values with the cost closest to the target, of as few settings as reach it.

    One setting alone is tried before two, and of equally many those that are named first. So an arm is changed
    in no more than it takes; where nothing reaches the target, the closest of all.

    Args:
        cost_of: the cost with these values; it raises an InputError for values that do not go together.
        ranges: name of a setting to its least and its highest value.
        target: above 0.
        share: by which the cost may deviate from the target.

    Raises:
        InputError: no values within the ranges go together; the first refusal.
    """
    best: Choice | None = None
    refusal: InputError | None = None
    for names in _subsets(ranges):
        spans = (range(low, high + 1) for low, high in (ranges[name] for name in names))
        for numbers in itertools.product(*spans):
            values = dict(zip(names, numbers, strict=True))
            try:
                found = Choice(values, cost_of(values), target)
            except InputError as error:
                refusal = refusal or error
                continue
            if best is None or abs(found.deviation) < abs(best.deviation):
                best = found
        if best is not None and best.is_within(share):
            return best
    if best is None:
        assert refusal is not None, "there is at least one combination"
        raise refusal
    return best


def closest_measured(
    cost_of: Callable[[Values], float],
    estimate_of: Callable[[Values], float],
    ranges: Mapping[str, tuple[int, int]],
    target: float,
    share: float,
) -> Choice:
    """As `closest`, where a cost takes long to measure: only values whose estimate is near are measured.

    The cost is taken to grow with the estimate. Of each set of settings at most `MAX_MEASURED` are measured: the one
    that the estimate, scaled by what was measured last, says to be closest, between the nearest below and above. It
    ends at half of the deviation that is allowed, so that what is measured again is still within it.

    Args:
        cost_of: the cost with these values, measured.
        estimate_of: a number that grows with it; it raises an InputError for values that do not go together.
        ranges, target, share: as of `closest`.

    Raises:
        InputError: no values within the ranges go together; the first refusal.
    """
    best: Choice | None = None
    refusal: InputError | None = None
    for names in _subsets(ranges):
        try:
            known = _by_estimate(names, ranges, estimate_of)
        except InputError as error:
            refusal = refusal or error
            continue
        for found in _between(known, cost_of, target):
            if best is None or abs(found.deviation) < abs(best.deviation):
                best = found
            if best.is_within(AIM * share):
                return best
    if best is None:
        assert refusal is not None, "there is at least one combination"
        raise refusal
    return best


def _by_estimate(
    names: tuple[str, ...],
    ranges: Mapping[str, tuple[int, int]],
    estimate_of: Callable[[Values], float],
) -> list[tuple[float, Values]]:
    """All values of some settings that go together, by their estimate; the first of those with the same one."""
    found: dict[float, Values] = {}
    refusal: InputError | None = None
    spans = (range(low, high + 1) for low, high in (ranges[name] for name in names))
    for numbers in itertools.product(*spans):
        values = dict(zip(names, numbers, strict=True))
        try:
            found.setdefault(estimate_of(values), values)
        except InputError as error:
            refusal = refusal or error
    if not found:
        assert refusal is not None, "there is at least one combination"
        raise refusal
    return sorted(found.items(), key=lambda each: each[0])


def _between(
    known: Sequence[tuple[float, Values]], cost_of: Callable[[Values], float], target: float
) -> Iterator[Choice]:
    """Measure values that come ever closer to the target."""
    low, high = 0, len(known) - 1
    wanted = known[(low + high) // 2][
        0
    ]  # the estimate of the target; nothing is known of it at first
    below: tuple[float, float] | None = None
    above: tuple[float, float] | None = None
    for _ in range(MAX_MEASURED):
        if low > high:
            return
        place = min(range(low, high + 1), key=lambda each: abs(known[each][0] - wanted))
        estimate, values = known[place]
        found = Choice(values, cost_of(values), target)
        yield found
        if found.cost < target:
            low, below = place + 1, (estimate, found.cost)
        else:
            high, above = place - 1, (estimate, found.cost)
        wanted = estimate * target / found.cost
        if below is not None and above is not None:
            wanted = _interpolated(below, above, target)


def _interpolated(below: tuple[float, float], above: tuple[float, float], target: float) -> float:
    """The estimate at a cost between two of (estimate, cost), on a straight line of their logarithms."""
    share = math.log(target / below[1]) / math.log(above[1] / below[1])
    return below[0] * math.exp(share * math.log(above[0] / below[0]))


def cost_text(by: str, cost: float) -> str:
    """A cost with its unit: `113,338`, `12.3 ms`, `45.6 MiB`."""
    if by == "step_time":
        return f"{1e3 * cost:.3g} ms"
    return f"{cost / 2**20:,.1f} MiB" if by == "memory" else f"{cost:,.0f}"


def _subsets(ranges: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    for count in range(1, len(ranges) + 1):
        yield from itertools.combinations(ranges, count)
