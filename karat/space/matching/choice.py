"""The whole numbers within given ranges that bring a cost closest to a target."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from karat.errors import InputError

Values = Mapping[str, int]
MAX_CANDIDATES = 20_000


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


def number_text(cost: float) -> str:
    """A count in a message: `113,338`."""
    return f"{cost:,.0f}"


def _subsets(ranges: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    for count in range(1, len(ranges) + 1):
        yield from itertools.combinations(ranges, count)
