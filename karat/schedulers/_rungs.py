"""Rungs at which trials are compared as they arrive, for the rules that halve successively."""

import bisect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field


@dataclass
class Rungs:
    """The values of the trials that have reached each rung; higher is better.

    Source: the stopping variant of ASHA (Li et al. 2020, arXiv 1810.05934), as in Ray Tune.
    """

    _seen: dict[Hashable, set[int]] = field(default_factory=dict)
    _sorted: dict[Hashable, list[float]] = field(default_factory=dict)

    def stops(self, rung: Hashable, trial: int, value: float, factor: float) -> bool:
        """Record a trial at a rung; True if it is below the 1 - 1 / `factor` quantile of those before.

        The quantile is interpolated linearly. The first trial passes, and so does a trial that passed
        this rung before, was interrupted, and repeats the epoch from a checkpoint.
        """
        seen = self._seen.setdefault(rung, set())
        if trial in seen:
            return False
        before = self._sorted.setdefault(rung, [])
        stop = bool(before) and value < quantile(before, 1 - 1 / factor)
        seen.add(trial)
        bisect.insort(before, value)
        return stop


def quantile(ordered: Sequence[float], share: float) -> float:
    """The result of `numpy.quantile`, bit for bit, in a fiftieth of its time for few values."""
    place = (len(ordered) - 1) * share
    below = int(place)
    if below + 1 >= len(ordered):
        return ordered[-1]
    rest, low, high = place - below, ordered[below], ordered[below + 1]
    return high - (high - low) * (1 - rest) if rest >= 0.5 else low + (high - low) * rest
