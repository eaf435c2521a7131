"""Trials on a virtual clock against times computed by hand; length of a plan with early stopping."""

from dataclasses import dataclass, field, replace

import pytest

from karat.forecast.curves import ModelledCurves
from karat.forecast.event_loop import EventLoop
from karat.forecast.schedule import arms_in_order, run_plan
from karat.schedulers import ArmSize
from karat.space.space import Space


@dataclass
class Trials:
    """Workload of trials of equal length that records its calls."""

    count: int
    epochs: int = 1
    epoch_s: float = 10.0
    last: int = 10_000  # the number of reports after which it is over
    begun: list[int] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return len(self.ends) >= self.last

    def begin(self) -> int | None:
        if len(self.begun) == self.count:
            return None
        self.begun.append(len(self.begun))
        return self.begun[-1]

    def seconds(self, trial: int, epoch: int) -> float:
        return self.epoch_s

    def report(self, trial: int, epoch: int) -> bool:
        self.ends.append((trial, epoch))
        return epoch == self.epochs


def test_workers_run_side_by_side_and_take_the_next_trial_when_one_ends() -> None:
    trials, loop = Trials(3, epochs=2), EventLoop(2)
    loop.run(trials)
    assert trials.ends == [(0, 1), (1, 1), (0, 2), (1, 2), (2, 1), (2, 2)]
    assert (loop.now, loop.busy_s) == (40.0, 60.0)


def test_driver_takes_one_report_after_the_other() -> None:
    trials, loop = Trials(3), EventLoop(3, driver_s=4.0)
    loop.run(trials)
    assert loop.now == 10.0 + 3 * 4.0
    assert loop.busy_s == 30.0


def test_clock_continues_with_the_next_workload() -> None:
    loop = EventLoop(1, now=100.0)
    loop.run(Trials(2))
    loop.run(Trials(1))
    assert loop.time() == loop.now == 130.0


def test_workload_that_is_over_stops_with_trials_running() -> None:
    trials, loop = Trials(5, last=2), EventLoop(2)
    loop.run(trials)
    assert trials.ends == [(0, 1), (1, 1)]
    assert trials.begun == [0, 1, 2, 3]


def test_plan_with_early_stopping_lies_between_the_grace_and_full_length(
    small_space: Space,
) -> None:
    arm = next(iter(small_space.arms))
    lengths = dict.fromkeys(small_space.arms, 10)
    curves = ModelledCurves(0, dict.fromkeys(small_space.arms, 1.0))
    run = run_plan(small_space, [arm] * 4, lengths, curves, slots=1)
    assert 4 < run.search_epochs < 40
    assert run.completed < 4
    assert run.slot_s == pytest.approx(run.wall_s)


@pytest.mark.parametrize("rule", ["asha", "one_epoch"])
def test_plan_counts_the_epochs_of_audited_trials(small_space: Space, rule: str) -> None:
    lengths = dict.fromkeys(small_space.arms, 4)
    curves = ModelledCurves(0, dict.fromkeys(small_space.arms, 1.0))
    epochs = {}
    for share in (0, 0.5, 1):
        space = replace(
            small_space,
            early_stopping={"scheduler": rule, "audit_share": share},
            search=replace(small_space.search, trials=36),
            sizes=dict.fromkeys(small_space.arms, ArmSize(trials=12, epochs=4)),
        )
        run = run_plan(space, arms_in_order(space, 0), lengths, curves, slots=2)
        epochs[share] = run.search_epochs
    assert epochs[0] < epochs[0.5] < epochs[1] == 36 * 4
