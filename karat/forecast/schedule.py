"""Runs the schedule and the early stopping of a plan over modelled learning curves.

There is no sampler and no journal, so a forecast of a thousand arms takes a fraction of a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from karat.forecast.curves import Curves, TrialInfo
from karat.forecast.event_loop import EventLoop
from karat.planning.plans.adaptive import JOINT, schedule_of
from karat.planning.plans.confirmation import contests_of
from karat.schedulers import Scheduler, make_scheduler
from karat.seeds import derive
from karat.space.space import Space

MOST_TIMES, LEAST_TIMES, REPORTS = 40, 5, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Result of one run of a plan.

    Args:
        search_epochs, confirm_epochs: epochs of each phase.
        slot_s: seconds in which slots were used, summed over slots.
        wall_s: wall-clock seconds.
        completed: the number of search trials that reached full length.
        confirmed: the number of confirmation trials.
    """

    search_epochs: int
    confirm_epochs: int
    slot_s: float
    wall_s: float
    completed: int
    confirmed: int

    @property
    def epochs(self) -> int:
        """Epochs of both phases."""
        return self.search_epochs + self.confirm_epochs


@dataclass(slots=True)
class _Phase:
    """Trials of one phase of a plan, which start in this order.

    Args:
        trials: all trials of the phase.
        curves: their learning curves.
        rule: early stopping; None never stops a trial.
        epochs: the number of epochs that each trial has trained.
    """

    trials: Sequence[TrialInfo]
    curves: Curves
    rule: Scheduler | None
    epochs: list[int]
    is_over: bool = False
    _begun: int = 0

    def begin(self) -> int | None:
        if self._begun == len(self.trials):
            return None
        self._begun += 1
        return self._begun - 1

    def seconds(self, trial: int, epoch: int) -> float:
        return self.curves.seconds(self.trials[trial], epoch)

    def report(self, trial: int, epoch: int) -> bool:
        info, self.epochs[trial] = self.trials[trial], epoch
        is_stopped = self.rule is not None and self.rule.on_report(
            info.arm, info.number, epoch, self.curves.value(info, epoch)
        )
        return is_stopped or epoch == info.epochs


def times_for(reports: int) -> int:
    """Return how often to run a plan with this number of reports: large plans vary less."""
    return max(LEAST_TIMES, min(MOST_TIMES, REPORTS // max(1, reports)))


def run_plan(
    space: Space,
    schedule: list[str],
    lengths: dict[str, int],
    curves: Curves,
    slots: int,
    driver_s: float = 0.0,
) -> Run:
    """Run search and confirmation on a virtual clock.

    Args:
        space: the search space.
        schedule: arms of the search trials, in order.
        lengths: arm to the epochs of its trials at full length.
        curves: learning curves of the trials.
        slots: the number of trials at a time.
        driver_s: seconds that the driver needs for a report.
    """
    rule = make_scheduler(space.early_stopping, space.search.mode)
    loop = EventLoop(slots, driver_s)
    trials = [_info(number, arm, lengths) for number, arm in enumerate(schedule)]
    done = _run(loop, trials, curves, rule)
    cells = [
        max(each.arms, key=lambda arm: lengths[arm.label]).label for each in contests_of(space)
    ]
    confirmed = [
        _info(len(trials) + number, arm, lengths)
        for number, arm in enumerate(cells * space.confirm.seeds)
    ]
    epochs = _run(loop, confirmed, curves, None)
    return Run(
        search_epochs=sum(done),
        confirm_epochs=sum(epochs),
        slot_s=loop.busy_s,
        wall_s=loop.now,
        completed=sum(n == trial.epochs for n, trial in zip(done, trials, strict=True)),
        confirmed=len(confirmed),
    )


def _run(
    loop: EventLoop, trials: Sequence[TrialInfo], curves: Curves, rule: Scheduler | None
) -> list[int]:
    """Run one phase; return the epochs of each trial."""
    phase = _Phase(trials, curves, rule, [0] * len(trials))
    loop.run(phase)
    return phase.epochs


def arms_in_order(space: Space, seed: int) -> list[str]:
    """Return the arms of the search trials in order; drawn at random if the sampler chooses them."""
    arms = list(space.arms)
    return [
        arms[derive(seed, "joint", index) % len(arms)] if group == JOINT else group
        for index, (group, _) in enumerate(schedule_of(space))
    ]


def _info(number: int, arm: str, lengths: dict[str, int]) -> TrialInfo:
    return TrialInfo(arm=arm, tuned={}, number=number, seed=number, epochs=lengths[arm])
