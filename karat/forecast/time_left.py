"""What is left of a study that runs, from the seconds per epoch that its arms have shown.

An arm that has shown none yet gets what the plan expects of it, scaled by how the others compare with
what was expected of them. It follows from the journal, so that a launch and who watches it say the same.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.parameters import contest_label, level_in, level_label
from karat.schedulers import audit_share_of

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

    @property
    def middle_s(self) -> float:
        """Between the two."""
        return (self.low_s + self.high_s) / 2


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


NOTHING_EXPECTED = Expected(epoch_s={}, factor=2.0)


@dataclass(frozen=True)
class _Work:
    """Epochs of some trials of one of several arms: at least and at most together, and of the longest trial."""

    arms: tuple[str, ...]
    longest: float
    least: float
    most: float


@dataclass(frozen=True)
class _Contest:
    """Arms of which the best is confirmed, in one tuning."""

    label: str
    arms: tuple[str, ...]
    tuning: int


def time_left(state: StudyState, slots: int, expected: Expected) -> Left | None:
    """What is left of training, until the last trial has ended; None if nothing is known of it.

    Args:
        state: of the study.
        slots: trials at a time.
        expected: of the plan; may lack arms.
    """
    if not state.created or not (state.trials or expected.epochs):
        return None
    shown = _shown(state)
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
    for work in _works(state, expected.epochs):
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


def _works(state: StudyState, length: int) -> Iterator[_Work]:
    """All epochs that are left, one item for each trial that has not ended and for trials alike."""
    lengths: dict[str, int] = {}
    asked: Counter[tuple[str, str, int]] = Counter()  # epochs by phase, arm and tuning
    for trial in list(state.trials.values()):
        lengths[trial.arm] = trial.epochs // trial.budget
        if not trial.set_aside:
            asked[trial.phase, trial.arm, trial.tuning] += trial.epochs
    usual = max(lengths.values(), default=length)
    least, most = _shares(state)
    for number in list(state.unended):
        trial = state.trials[number]
        left = max(0.5, trial.epochs - len(trial.reports))
        is_search = trial.phase == "search"
        low, high = (least, most) if is_search else (1.0, 1.0)
        yield _Work((trial.arm,), low * left, low * left, high * left)
    for arms, count in _search_to_come(state):
        length = usual if len(arms) > 1 else lengths.get(arms[0], usual)
        epochs = count * length
        yield _Work(arms, least * length, least * epochs, most * epochs)
    for contest in _contests(state):
        yield from _after_search(contest, state, usual, asked)


def _search_to_come(state: StudyState) -> Iterator[tuple[tuple[str, ...], int]]:
    """Search trials that were not asked for yet: arms with the number of trials of one of them."""
    if state.search_cut is not None:
        return
    search, arms = state.created["search"], tuple(arm["label"] for arm in state.created["arms"])
    total = state.created["totals"]["search"]
    asked = Counter(trial.arm for trial in _of_phase(state, "search"))
    each, rest = divmod(total, len(arms))
    if search.get("allocation") == "equal" and not rest:
        yield from (((arm,), each - asked[arm]) for arm in arms if asked[arm] < each)
    elif asked.total() < total:
        yield arms, total - asked.total()


def _of_phase(state: StudyState, phase: str) -> list[Trial]:
    """As `StudyState.of_phase`, while another thread adds trials."""
    trials = list(state.trials.values())
    return [trial for trial in trials if trial.phase == phase and not trial.set_aside]


def _contests(state: StudyState) -> Iterator[_Contest]:
    """What `karat.planning.plans.confirmation.contests_of` finds in a space, from the journal."""
    confirm, arms = state.created["confirm"], state.created["arms"]
    by, tunings = confirm["by"], confirm.get("tunings", 1)
    for tuning in range(tunings):
        which = tuning if tunings > 1 else None
        for reference in state.reference_arms:
            yield _Contest(contest_label(reference, which), (reference,), tuning)
        for level in state.references:
            own = tuple(
                arm["label"]
                for arm in arms
                if arm["label"] not in state.reference_arms
                and level_in(by, arm["label"], arm["factors"]) == level
            )
            yield _Contest(contest_label(level_label(by, level), which), own, tuning)


def _shares(state: StudyState) -> tuple[float, float]:
    """At least and at most: the share of a search trial's epochs that early stopping leaves."""
    if state.created["early_stopping"]["scheduler"] == "none":
        return 1.0, 1.0
    ended = [trial for trial in _of_phase(state, "search") if trial.ended]
    if len(ended) < _FEW_ENDED:
        audited = audit_share_of(state.created["early_stopping"])
        return audited + (1 - audited) * _LEAST_LEFT, 1.0
    share = statistics.fmean(len(trial.reports) / trial.epochs for trial in ended)
    return share, share


def _after_search(
    contest: _Contest, state: StudyState, length: int, asked: Counter[tuple[str, str, int]]
) -> Iterator[_Work]:
    """The runs of a contest's shortlist and confirmation that were not asked for yet."""
    confirm, arms = state.created["confirm"], contest.arms
    budgets = confirm.get("budgets", (1,))
    seeds = confirm["seeds"] // confirm.get("tunings", 1)
    most = (confirm.get("top_up") or {}).get("most", seeds)
    again = float(confirm.get("shortlist", 1) * state.fresh_seeds * length)
    if again and contest.label not in state.shortlists.planned:
        yield _Work(arms, length, again, again)
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
        max(0.0, float(each * sum(budgets) * length - done)) for each in (seeds, max(seeds, most))
    )
    if high:
        yield _Work(arms, max(budgets) * length, low, high)
