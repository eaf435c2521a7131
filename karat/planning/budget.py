"""When a study has used its budget, and when its search must end to leave enough for the confirmation."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from karat.causes import Details
from karat.journal.state import StudyState
from karat.planning.plans.confirmation import contests_of
from karat.space.rates import Spent
from karat.space.space import Space


def first_spent(space: Space, state: StudyState, now: float) -> Details | None:
    """Details of `Interrupt.BUDGET` for the first limit of the budget that is reached; None if none is."""
    spent = dataclasses.asdict(state.usage.until(now))
    for key, limit in space.budget.limits.items():
        if spent[key] >= limit:
            return {"limit": key, "of": limit, "spent": spent[key]}
    return None


def too_little_left(space: Space, state: StudyState, now: float) -> Details | None:
    """Whether the search must end now, so that the rest of the budget suffices for the confirmation.

    The search never ends before each contest has a trial that can be confirmed. The usage to come
    is an upper estimate: seconds per epoch so far, with all trials at full length.

    Returns:
        Details of `karat.causes.SearchCut.BUDGET`; None if the search continues.
    """
    limits = space.budget.limits
    if not limits or state.confirmation is not None or not state.launches:
        return None
    if not _all_have_winners(space, state):
        return None
    terms, slots = state.usage.terms, state.launches[-1].slots
    to_come = _to_come(space, state, now)
    seconds = [each.seconds for each in to_come]
    # Tasks in any order on m machines take at most their sum / m plus the longest (Graham 1966).
    wall_s = sum(seconds) / slots + max(seconds)
    needed = terms.price(sum(seconds), wall_s, sum(each.seconds * each.gpus for each in to_come))
    spent = state.usage.until(now)
    for key, limit in limits.items():
        left = limit - _value(spent, key)
        if _value(needed, key) > left:
            return {
                "limit": key,
                "of": limit,
                "left": max(0.0, left),
                "needed": _value(needed, key),
            }
    return None


def _all_have_winners(space: Space, state: StudyState) -> bool:
    done = {
        (trial.arm, trial.tuning)
        for trial in state.of_phase("search")
        if trial.status == "completed"
    }
    contests = contests_of(space)
    return all(done & {(arm.label, each.tuning) for arm in each.arms} for each in contests)


@dataclasses.dataclass(frozen=True, slots=True)
class _Coming:
    """A trial to come, or the rest of one: its seconds, and its GPUs during them."""

    seconds: float
    gpus: float


def _most(found: Iterable[_Coming]) -> _Coming:
    """Upper bound for any of several trials: the most seconds and the most GPUs."""
    each = list(found)
    return _Coming(max(one.seconds for one in each), max(one.gpus for one in each))


def _to_come(space: Space, state: StudyState, now: float) -> list[_Coming]:
    """All unfinished trials, one more search trial, and each run of the shortlists and the confirmation."""
    trained: dict[str, float] = defaultdict(float)
    epochs: dict[str, int] = defaultdict(int)
    lengths: dict[str, int] = {}
    gpus: dict[str, float] = defaultdict(float)
    for trial in state.trials.values():
        lengths[trial.arm] = trial.epochs // trial.budget
        gpus[trial.arm] = max(gpus[trial.arm], state.usage.gpus_of(trial.number))
        trained[trial.arm] += trial.seconds
        epochs[trial.arm] += len(trial.reports)
    # Seconds of segments per second of training: start, data loading, checkpoints, lost epochs.
    factor = max(1.0, state.usage.slot_seconds(now) / max(sum(trained.values()), 1e-9))
    mean = factor * sum(trained.values()) / sum(epochs.values())
    each = {arm: factor * trained[arm] / n if (n := epochs[arm]) else mean for arm in lengths}
    full = {arm: _Coming(each[arm] * length, gpus[arm]) for arm, length in lengths.items()}
    none = _Coming(0.0, 0.0)
    waiting = [
        _Coming(each[trial.arm] * (trial.epochs - len(trial.reports)), gpus[trial.arm])
        for trial in state.trials.values()
        if not trial.ended
    ]
    cells = [
        _most(full.get(arm.label, none) for arm in contest.arms) for contest in contests_of(space)
    ]
    confirm = space.confirm
    runs = [
        dataclasses.replace(cell, seconds=budget * cell.seconds)
        for cell in cells
        for budget in confirm.budgets
    ]
    again = cells * confirm.shortlist_runs
    return [*waiting, _most(full.values()), *again, *runs * confirm.most_each]


def _value(spent: Spent, key: str) -> float:
    value: float = getattr(spent, key)
    return value
