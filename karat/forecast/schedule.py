"""Runs the schedule and the early stopping of a plan over modelled learning curves.

There is no sampler and no journal, so a forecast of a thousand arms takes a fraction of a second.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from karat.forecast.curves import Curves, TrialInfo
from karat.forecast.event_loop import EventLoop
from karat.planning.plans.confirmation import contests_of
from karat.planning.plans.schedule import JOINT, schedule_of
from karat.planning.stopping import is_audited
from karat.schedulers import Scheduler, make_scheduler
from karat.seeds import derive
from karat.space.space import Space
from karat.space.stopping import group_of

MOST_TIMES, LEAST_TIMES, REPORTS = 40, 5, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Result of one run of a plan.

    Args:
        search_epochs, shortlist_epochs, confirm_epochs: epochs of each phase.
        slot_s: seconds in which slots were used, summed over slots.
        wall_s: wall-clock seconds.
        completed: the number of search trials that reached full length.
        repeated: the number of runs of the shortlists.
        confirmed: the number of confirmation trials; with `confirm.top_up` the most that there can be.
    """

    search_epochs: int
    confirm_epochs: int
    slot_s: float
    wall_s: float
    completed: int
    confirmed: int
    shortlist_epochs: int = 0
    repeated: int = 0

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return self.search_epochs + self.shortlist_epochs + self.confirm_epochs


@dataclass
class Plan:
    """The trials of a plan: the search, in this order, then shortlist and confirmation of each settled contest.

    Args:
        search: all trials of the search.
        again: all runs of the shortlists, each with the arms of its contest, none of which may still be
            searched when it begins.
        confirm: all trials of the confirmation, likewise; the runs of the contest's shortlist must have
            ended, too.
        curves: their learning curves.
        rule: early stopping of the search.
        audited: the trials of the search that go on where the rule stops them.
        epochs: trial to the epochs that it has had.
    """

    search: Sequence[TrialInfo]
    again: Sequence[tuple[TrialInfo, frozenset[str]]]
    confirm: Sequence[tuple[TrialInfo, frozenset[str]]]
    curves: Curves
    rule: Scheduler
    audited: frozenset[int] = frozenset()
    is_over: bool = False
    epochs: dict[int, int] = field(default_factory=dict)
    _searched: Counter[str] = field(default_factory=Counter)
    _held: list[int] = field(default_factory=list)
    _spared: set[int] = field(default_factory=set)  # audited trials that the rule has stopped

    def __post_init__(self) -> None:
        self._trials = {each.number: each for each in self.search}
        self._trials |= {each.number: each for each, _ in (*self.again, *self.confirm)}
        self._searches = {each.number for each in self.search}
        self._to_search = iter(self.search)
        self._to_repeat = dict.fromkeys(range(len(self.again)))
        self._to_confirm = dict.fromkeys(range(len(self.confirm)))
        self._contests = {each.number: arms for each, arms in self.again}
        self._repeating = Counter(
            self._contests.values()
        )  # runs of each shortlist that have not ended

    def begin(self) -> int | None:
        for number in self._held:
            if not self.rule.waits(number):
                self._held.remove(number)
                return number
        trial = next(self._to_search, None)
        if trial is not None:
            self._searched[trial.arm] += 1
            self.rule.on_asked(trial.arm, trial.number)
            return trial.number
        for place in self._to_repeat:
            trial, arms = self.again[place]
            if not any(self._searched[arm] for arm in arms):
                del self._to_repeat[place]
                return trial.number
        for place in self._to_confirm:
            trial, arms = self.confirm[place]
            if not self._repeating[arms] and not any(self._searched[arm] for arm in arms):
                del self._to_confirm[place]
                return trial.number
        return None

    def seconds(self, trial: int, epoch: int) -> float:
        return self.curves.seconds(self._trials[trial], epoch)

    def report(self, trial: int, epoch: int) -> bool:
        info, self.epochs[trial] = self._trials[trial], epoch
        has_ended = epoch == info.epochs
        if trial not in self._searches:
            if has_ended and trial in self._contests:
                self._repeating[self._contests[trial]] -= 1
            return has_ended
        if trial not in self._spared:
            value = self.curves.value(info, epoch)
            stops = self.rule.on_report(info.arm, trial, epoch, value)
            has_ended = (stops and not self._spares(trial)) or has_ended
        if has_ended:
            self._end(trial)
        elif self.rule.waits(trial):
            self._held.append(trial)
        for number in self.rule.rejected():
            if not self._spares(number):
                self._held.remove(number)
                self._end(number)
        return has_ended or trial in self._held

    def _spares(self, trial: int) -> bool:
        """Whether a trial that the rule stops goes on, of which the rule then sees nothing more."""
        if trial in self.audited:
            self._spared.add(trial)
        return trial in self.audited

    def _end(self, trial: int) -> None:
        arm = self._trials[trial].arm
        self._searched[arm] -= 1
        self.rule.on_ended(arm, trial)


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
    """Run search, shortlists and confirmation on a virtual clock.

    Args:
        space: the search space.
        schedule: arms of the search trials, in order.
        lengths: arm to the epochs of its trials at full length.
        curves: learning curves of the trials.
        slots: the number of trials at a time.
        driver_s: seconds that the driver needs for a report.
    """
    rule = make_scheduler(space.early_stopping, space.search.mode, space.sizes)
    loop = EventLoop(slots, driver_s)
    search = [_info(number, arm, lengths) for number, arm in enumerate(schedule)]
    cells = [
        (max(labels, key=lengths.__getitem__), frozenset(labels))
        for each in contests_of(space)
        if (labels := [arm.label for arm in each.arms])
    ]
    again = [
        (_info(len(search) + number, arm, lengths), arms)
        for number, (arm, arms) in enumerate(cells * space.confirm.shortlist_runs)
    ]
    runs = [(*cell, budget) for cell in cells for budget in space.confirm.budgets]
    confirm = [
        (
            replace(_info(len(search) + len(again) + number, arm, lengths, budget), is_tested=True),
            arms,
        )
        for number, (arm, arms, budget) in enumerate(runs * space.confirm.most_each)
    ]
    audited = frozenset(each.number for each in search if is_audited(space, each.number))
    plan = Plan(search, again, confirm, curves, rule, audited)
    loop.run(plan)
    done = [plan.epochs[trial.number] for trial in search]
    repeated = sum(plan.epochs[trial.number] for trial, _ in again)
    return Run(
        search_epochs=sum(done),
        shortlist_epochs=repeated,
        confirm_epochs=sum(plan.epochs.values()) - sum(done) - repeated,
        slot_s=loop.busy_s,
        wall_s=loop.now,
        completed=sum(n == trial.epochs for n, trial in zip(done, search, strict=True)),
        repeated=len(again),
        confirmed=len(confirm),
    )


def arms_in_order(space: Space, seed: int) -> list[str]:
    """Return the arms of the search trials in order; drawn at random if the sampler chooses them."""
    arms = list(space.arms)
    tunings = range(space.confirm.tunings)
    by_group = {group_of(label, tuning): label for tuning in tunings for label in arms}
    return [
        arms[derive(seed, "joint", index) % len(arms)] if group == JOINT else by_group[group]
        for index, (group, _) in enumerate(schedule_of(space))
    ]


def _info(number: int, arm: str, lengths: dict[str, int], budget: int = 1) -> TrialInfo:
    epochs = budget * lengths[arm]
    return TrialInfo(arm=arm, tuned={}, number=number, seed=number, epochs=epochs)
