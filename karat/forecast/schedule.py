"""What a plan will run: its schedule and its early stopping over modelled curves, many times over.

No proposals, no journal: a forecast of a thousand arms takes a fraction of a second.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from karat.forecast.curves import Asked, Curves
from karat.planning.plans.adaptive import JOINT, schedule_of
from karat.planning.plans.confirmation import contests_of
from karat.schedulers import make_scheduler
from karat.seeds import derive
from karat.space.space import Space

MOST_TIMES, LEAST_TIMES, REPORTS = 40, 5, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a plan: epochs, seconds of trials and on the wall, trials that came to full length."""

    search_epochs: int
    confirm_epochs: int
    slot_s: float
    wall_s: float
    completed: int
    confirmed: int

    @property
    def epochs(self) -> int:
        """Of both phases."""
        return self.search_epochs + self.confirm_epochs


@dataclass(slots=True)
class _Slots:
    """Trials at a time, on a virtual clock; `slot_s` are seconds in which one ran.

    The driver takes one report after the other, and needs `driver_s` for each.
    """

    count: int
    driver_s: float
    now: float = 0.0
    slot_s: float = 0.0

    def run(
        self, trials: Sequence[Asked], curves: Curves, stops: Callable[[Asked, int, float], bool]
    ) -> list[int]:
        """All trials, in order; returns the epochs of each."""
        epochs = [0] * len(trials)
        coming = iter(range(len(trials)))
        running = [
            self._next(trials[place], place, 1, curves) for place in islice(coming, self.count)
        ]
        heapq.heapify(running)
        while running:
            at, place, epoch = heapq.heappop(running)
            self.now = max(at, self.now) + self.driver_s
            trial, epochs[place] = trials[place], epoch
            is_stopped = stops(trial, epoch, curves.value(trial, epoch))
            if epoch < trial.epochs and not is_stopped:
                heapq.heappush(running, self._next(trial, place, epoch + 1, curves))
            elif (following := next(coming, None)) is not None:
                heapq.heappush(running, self._next(trials[following], following, 1, curves))
        return epochs

    def _next(self, trial: Asked, place: int, epoch: int, curves: Curves) -> tuple[float, int, int]:
        seconds = curves.seconds(trial, epoch)
        self.slot_s += seconds
        return self.now + seconds, place, epoch


def times_for(reports: int) -> int:
    """How often a plan with so many reports is run: fewer for large ones, which vary less."""
    return max(LEAST_TIMES, min(MOST_TIMES, REPORTS // max(1, reports)))


def run_plan(
    space: Space,
    schedule: list[str],
    lengths: dict[str, int],
    curves: Curves,
    slots: int,
    driver_s: float = 0.0,
) -> Run:
    """Search and confirmation on a virtual clock.

    Args:
        space: the question.
        schedule: arms of the search's trials, in order.
        lengths: epochs of an arm's trials at full length.
        curves: of the trials.
        slots: trials at a time.
        driver_s: that the driver needs for a report.
    """
    rule = make_scheduler(space.early_stopping, space.search.mode)
    clock = _Slots(slots, driver_s)
    trials = [_asked(number, arm, lengths) for number, arm in enumerate(schedule)]
    done = clock.run(trials, curves, lambda t, e, v: rule.on_report(t.arm, t.number, e, v))
    cells = [
        max(each.arms, key=lambda arm: lengths[arm.label]).label for each in contests_of(space)
    ]
    confirmed = [
        _asked(len(trials) + number, arm, lengths)
        for number, arm in enumerate(cells * space.confirm.seeds)
    ]
    epochs = clock.run(confirmed, curves, lambda *_: False)
    return Run(
        search_epochs=sum(done),
        confirm_epochs=sum(epochs),
        slot_s=clock.slot_s,
        wall_s=clock.now,
        completed=sum(n == trial.epochs for n, trial in zip(done, trials, strict=True)),
        confirmed=len(confirmed),
    )


def arms_in_order(space: Space, seed: int) -> list[str]:
    """The arms of the search's trials, in order; where the sampler chooses them, drawn."""
    arms = list(space.arms)
    return [
        arms[derive(seed, "joint", place) % len(arms)] if group == JOINT else group
        for place, (group, _) in enumerate(schedule_of(space))
    ]


def _asked(number: int, arm: str, lengths: dict[str, int]) -> Asked:
    return Asked(arm=arm, tuned={}, number=number, seed=number, epochs=lengths[arm])
