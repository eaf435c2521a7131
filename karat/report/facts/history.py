"""The search trial by trial, and which trial ran when: what can be drawn of a study's course.

A study of 10,000 trials has a million reports, of which nobody can see more than a few thousand in a figure.
So `curves` has a part of the trials and of their epochs, `best` the steps alone; what the figures leave out
is told by the numbers beside them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from karat.journal.state import StudyState
from karat.journal.trial import Status, Trial
from karat.report.facts.timeline import Timeline, timeline_of
from karat.statistics.metric import Metric

MOST_ARMS = 24  # whose trials are drawn
MOST_CURVES = 200  # of all arms together
MOST_POINTS = 60  # of one curve


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTrial:
    """One trial of the search.

    Args:
        number, arm, status, tuned: of the trial.
        epochs, done: of a whole trial; run by this one.
        value: the search metric after its last epoch; None without one.
        is_confirmed: whether its cell was confirmed.
    """

    number: int
    arm: str
    status: Status
    tuned: Mapping[str, Any]
    epochs: int
    done: int
    value: float | None
    is_confirmed: bool

    @property
    def score(self) -> float | None:
        """The value by which the search compares it: only whole trials have one."""
        return self.value if self.status == "completed" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """The search metric of one trial by epoch; `epochs` and `values` are of equal length, at least 1."""

    trial: SearchTrial
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The course of a study.

    Args:
        trials: of the search, in the order in which they were asked for.
        arms: labels of those of which trials are drawn, at most `MOST_ARMS`: references, then confirmed
            arms, then others, of each the best ones.
        left_out: number of further arms with trials.
        curves: of the trials of `arms`, at most `MOST_CURVES`.
        each: the most curves that an arm may have; None where all of its trials have one.
        best: label to steps (epochs spent on this arm so far, best value of its whole trials), at each
            improvement, and the last one with all its epochs; arms without a whole trial are missing.
        timeline: which trial ran when; None where none ran.
    """

    trials: tuple[SearchTrial, ...]
    arms: tuple[str, ...]
    left_out: int
    curves: tuple[LearningCurve, ...]
    each: int | None
    best: Mapping[str, tuple[tuple[int, float], ...]]
    timeline: Timeline | None


def history_of(state: StudyState, confirmed: Sequence[str], metric: Metric) -> History:
    """What the journal says of it.

    Args:
        state: of the study.
        confirmed: labels of the confirmed arms, in reading order.
        metric: of the search.
    """
    chosen = {cell["trial"] for cell in (state.confirmation or {}).get("cells", ())}
    searched = [t for t in state.trials.values() if t.phase == "search" and not t.set_aside]
    known = {trial.number: _search_trial(trial, metric, chosen) for trial in searched}
    of_arm: dict[str, list[Trial]] = {}
    for trial in searched:
        of_arm.setdefault(trial.arm, []).append(trial)
    shown, left_out = _shown(known.values(), confirmed, state, metric)
    most = max(1, MOST_CURVES // max(1, len(shown)))
    is_thinned = any(len(of_arm[label]) > most for label in shown)
    drawn = [
        trial
        for label in shown
        for trial in thinned([known[each.number] for each in of_arm[label]], most, metric)
    ]
    curves = (_curve(state.trials[each.number], each, metric) for each in drawn)
    return History(
        trials=tuple(known.values()),
        arms=tuple(shown),
        left_out=left_out,
        curves=tuple(curve for curve in curves if curve is not None),
        each=most if is_thinned else None,
        best={
            label: steps
            for label in shown
            if (steps := _steps(of_arm[label], known, metric)) is not None
        },
        timeline=timeline_of(state),
    )


def thinned(trials: Sequence[SearchTrial], most: int, metric: Metric) -> list[SearchTrial]:
    """At most `most` trials of one arm: the confirmed one, the best one, and others spread evenly."""
    if len(trials) <= most:
        return list(trials)
    scored = [trial for trial in trials if trial.score is not None]
    kept = {trial.number for trial in trials if trial.is_confirmed}
    kept |= {max(scored, key=lambda trial: _goodness(trial, metric)).number} if scored else set()
    others = [trial for trial in trials if trial.number not in kept]
    left = max(0, most - len(kept))
    kept |= {others[place * len(others) // left].number for place in range(left)}
    return [trial for trial in trials if trial.number in kept][:most]


def _search_trial(trial: Trial, metric: Metric, chosen: set[int]) -> SearchTrial:
    return SearchTrial(
        number=trial.number,
        arm=trial.arm,
        status=trial.status,
        tuned=trial.tuned,
        epochs=trial.epochs,
        done=len(trial.reports),
        value=trial.last(metric.name),
        is_confirmed=trial.number in chosen,
    )


def _goodness(trial: SearchTrial, metric: Metric) -> float:
    return -math.inf if trial.score is None else metric.goodness(trial.score)


def _shown(
    trials: Iterable[SearchTrial], confirmed: Sequence[str], state: StudyState, metric: Metric
) -> tuple[list[str], int]:
    """Labels of the arms to draw, the confirmed ones in their order first; and the number of those left out."""
    best: dict[str, float] = {}
    for trial in trials:
        best[trial.arm] = max(best.get(trial.arm, -math.inf), _goodness(trial, metric))

    def place(label: str) -> tuple[bool, bool, float, str]:
        return label not in state.reference_arms, label not in confirmed, -best[label], label

    kept = sorted(best, key=place)[:MOST_ARMS]
    in_order = [label for label in confirmed if label in kept]
    return [*in_order, *(each for each in kept if each not in confirmed)], len(best) - len(kept)


def _curve(trial: Trial, known: SearchTrial, metric: Metric) -> LearningCurve | None:
    """Some of its epochs, also the last one; None without any value."""
    values = trial.reports.values(metric.name)
    told = [place for place, value in enumerate(values) if not math.isnan(value)]
    if not told:
        return None
    step = math.ceil(len(told) / MOST_POINTS)
    places = [*told[:-1:step], told[-1]]
    epochs = trial.reports.epochs
    return LearningCurve(
        trial=known,
        epochs=tuple(epochs[place] for place in places),
        values=tuple(values[place] for place in places),
    )


def _steps(
    trials: Sequence[Trial], known: Mapping[int, SearchTrial], metric: Metric
) -> tuple[tuple[int, float], ...] | None:
    """See `History.best`; trials count in the order in which they ended, those under way at the end."""
    steps: list[tuple[int, float]] = []
    spent, best = 0, -math.inf
    for trial in sorted(trials, key=lambda each: (each.ended_at or math.inf, each.number)):
        spent += known[trial.number].done
        goodness, score = _goodness(known[trial.number], metric), known[trial.number].score
        if goodness > best and score is not None:
            best = goodness
            steps.append((spent, score))
    return (*steps, (spent, steps[-1][1])) if steps else None
