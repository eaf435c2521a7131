"""What is left of a study that runs, from the seconds per epoch that its arms have shown.

An arm that has shown none yet gets what the plan expects of it, scaled by how the others compare with
what was expected of them.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.decisions import Decisions
from karat.planning.plans.confirmation import Contest

_LATEST = 4  # trials of an arm whose epochs count: the machine may have become slower
_FEW_ENDED = 3  # before, nobody knows how much early stopping leaves
_LEAST_LEFT = 0.35  # of the epochs, by the rules that stop most (docs/benchmarks.md)
_ALIKE = 1.3  # a range whose ends are nearer than that is one number


@dataclass(frozen=True, kw_only=True)
class Left:
    """Seconds that are left, at least and at most about."""

    low_s: float
    high_s: float

    @property
    def is_known(self) -> bool:
        """Whether one number says it."""
        return self.high_s <= _ALIKE * self.low_s


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the plan expects of a launch.

    Args:
        epoch_s: arm to the seconds of an epoch.
        factor: by which they may be off.
        epochs: of a trial at full length; 0 if it is not known.
        start_s, end_s: seconds before the first epoch, and after the last trial.
    """

    epoch_s: Mapping[str, float]
    factor: float
    epochs: int = 0
    start_s: float = 0.0
    end_s: float = 0.0


@dataclass(frozen=True)
class _Work:
    """Epochs of some trials of one of several arms: at least and at most together, and of the longest trial."""

    arms: tuple[str, ...]
    longest: float
    least: float
    most: float


def time_left(decisions: Decisions, slots: int, expected: Expected) -> Left | None:
    """What is left of training, until the last trial has ended; None if nothing is known of it.

    Args:
        decisions: of the study, with its state.
        slots: trials at a time.
        expected: of the plan; may lack arms.
    """
    if not decisions.state.trials and not expected.epochs:
        return None
    shown = _shown(decisions.state)
    ratios = [
        seconds / expected.epoch_s[arm] for arm, seconds in shown.items() if arm in expected.epoch_s
    ]
    ratio = statistics.median(ratios) if ratios else 1.0
    known = {arm: ratio * seconds for arm, seconds in expected.epoch_s.items()} | shown
    if not known:
        return None
    mean = statistics.fmean(known.values())
    # What no trial has shown may be off by less once other arms have been compared.
    off = expected.factor ** (0.5 if ratios else 1.0)
    low = high = 0.0
    longest = 0.0
    for work in _works(decisions, expected.epochs):
        each = statistics.fmean(known.get(arm, mean) for arm in work.arms)
        is_shown = all(arm in shown for arm in work.arms)
        low += work.least * each / (1.0 if is_shown else off)
        high += work.most * each * (1.0 if is_shown else off)
        longest = max(longest, min(work.longest, work.most) * each)
    # At best all slots end together; otherwise they idle, on average, for about half of a long trial.
    idle = longest * (1 - 1 / slots) / 2
    return Left(low_s=max(longest, low / slots), high_s=max(longest, high / slots + idle))


def _shown(state: StudyState) -> dict[str, float]:
    """Seconds of an epoch of each arm, in its latest trials."""
    latest: dict[str, list[Trial]] = defaultdict(list)
    for trial in reversed(list(state.trials.values())):  # while another thread adds trials
        if trial.reports and len(latest[trial.arm]) < _LATEST:
            latest[trial.arm].append(trial)
    return {
        arm: sum(trial.seconds for trial in trials) / sum(len(trial.reports) for trial in trials)
        for arm, trials in latest.items()
        if trials
    }


def _works(decisions: Decisions, length: int) -> Iterator[_Work]:
    """All epochs that are left, one item for each trial that has not ended and for trials alike."""
    state, space = decisions.state, decisions.space
    lengths: dict[str, int] = {}
    asked: Counter[tuple[str, str, int]] = Counter()  # epochs by phase, arm and tuning
    for trial in list(state.trials.values()):
        lengths[trial.arm] = trial.epochs // trial.budget
        if not trial.set_aside:
            asked[trial.phase, trial.arm, trial.tuning] += trial.epochs
    usual = max(lengths.values(), default=length)
    least, most = _shares(decisions)
    for number in list(state.unended):
        trial = state.trials[number]
        left = max(0.5, trial.epochs - len(trial.reports))
        is_search = trial.phase == "search"
        low, high = (least, most) if is_search else (1.0, 1.0)
        yield _Work((trial.arm,), low * left, low * left, high * left)
    if not decisions.search_is_over:
        for arm, count in decisions.search.to_come.items():
            length = usual if arm is None else lengths.get(arm, usual)
            epochs = count * length
            arms = tuple(space.arms) if arm is None else (arm,)
            yield _Work(arms, least * length, least * epochs, most * epochs)
    for contest in decisions.contests:
        yield from _after_search(contest, decisions, usual, asked)


def _shares(decisions: Decisions) -> tuple[float, float]:
    """At least and at most: the share of a search trial's epochs that early stopping leaves."""
    if decisions.space.early_stopping["scheduler"] == "none":
        return 1.0, 1.0
    ended = [trial for trial in decisions.state.of_phase("search") if trial.ended]
    if len(ended) < _FEW_ENDED:
        return _LEAST_LEFT, 1.0
    share = statistics.fmean(len(trial.reports) / trial.epochs for trial in ended)
    return share, share


def _after_search(
    contest: Contest, decisions: Decisions, length: int, asked: Counter[tuple[str, str, int]]
) -> Iterator[_Work]:
    """The runs of a contest's shortlist and confirmation that were not asked for yet."""
    state, confirm = decisions.state, decisions.space.confirm
    arms, seeds = tuple(arm.label for arm in contest.arms), confirm.seeds_each
    if contest.label not in state.shortlists.planned and confirm.shortlist_runs:
        epochs = float(confirm.shortlist_runs * length)
        yield _Work(arms, length, epochs, epochs)
    if state.is_planned(contest.label):
        cells = state.confirmation["cells"] if state.confirmation else ()
        arms = tuple(
            cell["arm"]
            for cell in cells
            if cell["arm"] in arms and cell.get("tuning", 0) == contest.tuning
        )
        if not arms:  # it was skipped
            return
        seeds = state.seeds_of(arms[0])
    done = sum(asked["confirm", arm, contest.tuning] for arm in arms)
    low, high = (
        max(0.0, float(each * sum(confirm.budgets) * length - done))
        for each in (seeds, max(seeds, confirm.most_each))
    )
    if high:
        yield _Work(arms, max(confirm.budgets) * length, low, high)
