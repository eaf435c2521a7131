"""When a study has spent its budget, and when its search is to leave the rest to the confirmation."""

import dataclasses
from collections import defaultdict

from karat.plans.confirm import contests_of
from karat.space import Space
from karat.spending import Spent
from karat.state import StudyState


def first_spent(space: Space, state: StudyState, now: float) -> str | None:
    """The first limit of the budget that is reached, as a phrase."""
    spent = dataclasses.asdict(state.spending.until(now))
    for key, limit in space.budget.limits.items():
        if spent[key] >= limit:
            return f"budget.{key} = {limit:g} is spent ({spent[key]:.4g})"
    return None


def too_little_left(space: Space, state: StudyState, now: float) -> str | None:
    """Why the search is to end now, so that the rest does for the confirmation; None if it is not.

    Never before each contest has a trial that it could confirm. What is still to come is estimated
    from the seconds an epoch took so far, with all trials at full length, and so from above.
    """
    limits = space.budget.limits
    if not limits or state.confirmation is not None or not state.launches:
        return None
    if not _all_have_winners(space, state):
        return None
    terms, slots = state.spending.terms, state.launches[-1].slots
    to_come = _seconds_to_come(space, state, now)
    # Tasks in any order on m machines end within their sum / m and the longest (Graham 1966).
    needed = terms.price(sum(to_come), sum(to_come) / slots + max(to_come))
    spent = state.spending.until(now)
    for key, limit in limits.items():
        left = limit - _value(spent, key)
        if _value(needed, key) > left:
            return (
                f"of budget.{key} = {limit:g} there are {max(0.0, left):.3g} left, and another "
                f"search trial and the confirmation may take {_value(needed, key):.3g}"
            )
    return None


def _all_have_winners(space: Space, state: StudyState) -> bool:
    done = {trial.arm for trial in state.of_phase("search") if trial.status == "completed"}
    return all(done & {arm.label for arm in each.arms} for each in contests_of(space))


def _seconds_to_come(space: Space, state: StudyState, now: float) -> list[float]:
    """Of what runs or waits, of one more search trial, and of each run of the confirmation."""
    trained: dict[str, float] = defaultdict(float)
    epochs: dict[str, int] = defaultdict(int)
    lengths: dict[str, int] = {}
    for trial in state.trials.values():
        lengths[trial.arm] = trial.epochs
        trained[trial.arm] += trial.seconds
        epochs[trial.arm] += len(trial.reports)
    # Starting, loading, checkpoints and what was lost: seconds of segments for one of training.
    factor = max(1.0, state.spending.slot_seconds(now) / max(sum(trained.values()), 1e-9))
    mean = factor * sum(trained.values()) / sum(epochs.values())
    each = {arm: factor * trained[arm] / n if (n := epochs[arm]) else mean for arm in lengths}
    full = {arm: each[arm] * length for arm, length in lengths.items()}
    waiting = [t for t in state.trials.values() if not t.ended]
    return [
        *(each[trial.arm] * (trial.epochs - len(trial.reports)) for trial in waiting),
        max(full.values()),
        *(
            max(full.get(arm.label, 0.0) for arm in contest.arms)
            for contest in contests_of(space)
            for _ in range(space.confirm.seeds)
        ),
    ]


def _value(spent: Spent, key: str) -> float:
    value: float = getattr(spent, key)
    return value
