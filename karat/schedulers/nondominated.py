"""Asynchronous successive halving for several goals, by non-dominated rank."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from karat.goals import ranks_of
from karat.schedulers.asha import ASHA

Point = tuple[float, ...]


@dataclass(kw_only=True)
class NonDominated(ASHA):
    """Multi-objective ASHA (Schmucker et al. 2021, arXiv 2106.12639), in the stopping variant.

    At a rung all trials so far are put in order: by the front to which they belong (non-dominated sorting), and within a front
    from its best in the first goal on, next the one that is farthest from those before (the paper's EpsNet, with each goal
    scaled to its range in the front). A trial goes on if it is among the first 1 / `reduction_factor` of them, and the best
    in the first goal so far always does. Departures: the paper promotes waiting trials, while these are stopped as in `asha`; and trials
    are compared within their arm. With one goal it is `asha` without interpolation.

    Args:
        grace_epochs: the first rung, below the epochs of a trial; no trial is stopped before it.
        reduction_factor: at least 1.1; about 1 / `reduction_factor` of the trials pass a rung.
        by_arm: False compares all trials with each other.
    """

    several_goals = True
    _points: dict[Hashable, dict[int, Point]] = field(default_factory=dict, init=False)

    def in_words(self) -> str:
        return f"{super().in_words()}, in the order of the fronts to which they belong"

    def on_report(self, arm: str, trial: int, epoch: int, value: float) -> bool:
        return self.on_goals(arm, trial, epoch, (self.signed(value),))

    def on_goals(self, arm: str, trial: int, epoch: int, values: Sequence[float]) -> bool:
        if not self.is_rung(epoch):
            return False
        points = self._points.setdefault((arm if self.by_arm else "", epoch), {})
        if trial in points:
            return False
        points[trial] = tuple(values)
        order = in_order(list(points.values()))
        place = order.index(len(points) - 1)
        return place >= max(1, math.ceil(len(points) / self.reduction_factor))


def in_order(points: Sequence[Point]) -> list[int]:
    """The places of all points, the best first: by front, and spread out within a front."""
    ranks = ranks_of(points)
    found: list[int] = []
    for rank in range(max(ranks) + 1):
        front = [place for place, own in enumerate(ranks) if own == rank]
        found += [front[place] for place in spread_out([points[each] for each in front])]
    return found


def spread_out(front: Sequence[Point]) -> list[int]:
    """The places of a front's points: the best in the first goal, then always the farthest from those before."""
    import numpy as np  # a space is read without it

    values = np.array(front, dtype=float)
    spans = values.max(0) - values.min(0)
    scaled = values / np.where(spans == 0, 1.0, spans)
    found = [max(range(len(front)), key=lambda place: front[place])]
    near = np.full(len(front), np.inf)
    for _ in range(len(front) - 1):
        near = np.minimum(near, np.sqrt(((scaled - scaled[found[-1]]) ** 2).sum(1)))
        near[found[-1]] = -1.0  # it is there already
        found.append(int(near.argmax()))  # of equals the earliest
    return found
