"""What a study's search did and cost, over all arms and in each."""

import math
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from karat.causes import Audit, Stop
from karat.constraints import Constraint
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.parameters import EACH_ARM, level_text
from karat.prior import WarmStart
from karat.report.facts.importances import Importances
from karat.schedulers import audit_share_of
from karat.statistics.metric import Metric
from karat.statistics.samples import rate_interval

EDGE = 0.02  # of a range: a best value this close to an end may lie outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A tuned value close to an end of its range: a better one may lie outside.

    Args:
        name: of the parameter, in full.
        value: the best one found.
        end: the one that is close.
        low, high: the range.
    """

    name: str
    value: float
    end: Literal["lower", "upper"]
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedArm:
    """What the search did in one arm; `best` is over trials at full length, `edges` those of it."""

    label: str
    asked: int
    completed: int
    stopped: int
    failed: int
    epochs: int
    best: float | None
    best_tuned: Mapping[str, Any]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Memory of a trial's process and seconds of an epoch, predicted and actual.

    Medians over the trials of an arm for which something was predicted; None where nothing was told.
    """

    arm: str
    trials: int
    memory_predicted: float
    memory: float | None
    epoch_predicted: float | None
    epoch: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseStops:
    """What became of trials that early stopping would have stopped, and that were finished anyway.

    Args:
        share: of the trials that were to be finished anyway.
        finished: trials that would have been stopped, and were completed.
        best: of these, the best of their arm, also better than those that were never to be stopped.
        low, high: 95 % interval of `best` / `finished` (Clopper and Pearson 1934), which takes the
            trials for independent; None without any.
    """

    share: float
    finished: int
    best: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFacts:
    """What the search cost.

    Args:
        planned, asked, completed, stopped, failed: numbers of trials.
        epochs_run, epochs_full: of the trials that completed or were stopped: run, and what
            they would have run without early stopping.
        engine_seconds: slot time that was not training, for each trial; None without trials.
        tuned: number of trials for each side of a comparison: a reference, or a level with all its arms.
        arms: each arm's part.
        needed: memory and time in each arm, where they were predicted; of all phases.
        constrained: each broken constraint to the number of trials that it stopped; part of `stopped`.
        ruled_out: each constraint that is known before training to the number of proposals that broke it.
        given_up: trials that were not asked for, since nothing that may be trained was proposed for them.
        false_stops: the audit of early stopping; None where none was asked for.
        warm_start: results of an older study with which it began; None without.
        importances: of the parameters; None where there are none, or they were not computed.
    """

    planned: int
    asked: int
    completed: int
    stopped: int
    failed: int
    epochs_run: int
    epochs_full: int
    engine_seconds: float | None
    tuned: Mapping[str, int]
    arms: tuple[SearchedArm, ...]
    needed: tuple[Needed, ...]
    constrained: Mapping[Constraint, int]
    ruled_out: Mapping[Constraint, int] = field(default_factory=dict)
    given_up: int = 0
    false_stops: FalseStops | None = None
    warm_start: WarmStart | None = None
    importances: Importances | None = None

    @property
    def saved(self) -> float | None:
        """Share of the epochs that early stopping saved; None without epochs."""
        return 1 - self.epochs_run / self.epochs_full if self.epochs_full else None


def search_facts(state: StudyState, metric: Metric) -> SearchFacts:
    """What the search did, whether it has ended or not."""
    trials = state.of_phase("search")
    counted = [trial for trial in trials if trial.status in ("completed", "stopped")]
    training = sum(trial.seconds for trial in trials) + _confirming_meanwhile(state)
    engine = (_slot_seconds(state, trials) - training) / len(trials) if trials else None
    of_arm = by_arm(trials)
    return SearchFacts(
        planned=state.created["totals"]["search"],
        asked=len(trials),
        completed=_count(trials, "completed"),
        stopped=_count(trials, "stopped"),
        failed=_count(trials, "failed"),
        epochs_run=sum(len(trial.reports) for trial in counted),
        epochs_full=sum(trial.epochs for trial in counted),
        engine_seconds=engine,
        tuned=_tuned(state, of_arm),
        arms=tuple(
            _searched_arm(state, arm, of_arm.get(arm["label"], []), metric)
            for arm in state.created["arms"]
        ),
        needed=tuple(_needed(state)),
        constrained=Counter(
            _constraint_of(trial) for trial in trials if trial.cause == Stop.CONSTRAINT
        ),
        ruled_out=Counter(each.constraint for each in state.ruled_out),
        given_up=state.given_up,
        false_stops=false_stops(state, metric),
        warm_start=WarmStart.of(state.created),
    )


def _constraint_of(trial: Trial) -> Constraint:
    """The one that stopped it."""
    details = trial.details
    return Constraint(details["metric"], details["relation"], details["limit"])


def _tuned(state: StudyState, of_arm: Mapping[str, Sequence[Trial]]) -> dict[str, int]:
    """Trials for each reference and each level: of these the best is confirmed."""
    by, references = state.created["confirm"]["by"], set(state.reference_arms)
    found: Counter[str] = Counter()
    for arm in state.created["arms"]:
        label, level = arm["label"], arm["factors"].get(by)
        is_own = label in references or by == EACH_ARM
        name = label if is_own else f"{by.rpartition('.')[2]}={level_text(level)}"
        found[name] += len(of_arm.get(label, ()))
    return dict(found)


def false_stops(state: StudyState, metric: Metric) -> FalseStops | None:
    """How often a trial that would have been stopped was the best of its arm; None without an audit."""
    share = audit_share_of(state.created["early_stopping"])
    if not share:
        return None
    finished, best = 0, 0
    for trials in by_arm(state.of_phase("search")).values():
        values = {
            trial.number: metric.goodness(value)
            for trial in trials
            if trial.status == "completed" and (value := trial.last(metric.name)) is not None
        }
        spared = {t.number for t in trials if t.cause == Audit.FINISHED_ANYWAY} & values.keys()
        others = [value for number, value in values.items() if number not in spared]
        finished += len(spared)
        best += bool(spared) and max(values[n] for n in spared) > max(others, default=-math.inf)
    low, high = rate_interval(best, finished, 0.05) if finished else (None, None)
    return FalseStops(share=share, finished=finished, best=best, low=low, high=high)


def by_arm(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """The trials of each arm, by its label, in their order."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.arm, []).append(trial)
    return found


def _needed(state: StudyState) -> Iterator[Needed]:
    told = (trial for trial in state.trials.values() if trial.estimate is not None)
    for arm, trials in by_arm(trial for trial in told if trial.reports).items():
        estimates = [trial.estimate for trial in trials if trial.estimate is not None]
        epochs = (trial.seconds / len(trial.reports) for trial in trials)
        yield Needed(
            arm=arm,
            trials=len(trials),
            memory_predicted=statistics.median(each["memory_bytes"] for each in estimates),
            memory=_median(trial.peak_bytes for trial in trials),
            epoch_predicted=_median(each["epoch_s"] for each in estimates),
            epoch=_median(epochs),
        )


def _median(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return statistics.median(told) if told else None


def _searched_arm(
    state: StudyState, arm: Mapping[str, Any], trials: Sequence[Trial], metric: Metric
) -> SearchedArm:
    values = {
        trial.number: value
        for trial in trials
        if trial.status == "completed" and (value := trial.last(metric.name)) is not None
    }
    cells = state.confirmation["cells"] if state.confirmation else ()
    # The best ones of the search, of which the shortlist may have chosen another.
    listed = [number for each in state.shortlists.planned.values() for number in each]
    chosen = listed or [cell["trial"] for cell in cells if cell["arm"] == arm["label"]]
    candidates = [number for number in chosen if number in values] or values
    best = max(candidates, key=lambda number: metric.goodness(values[number]), default=None)
    tuned = state.trials[best].tuned if best is not None else {}
    return SearchedArm(
        label=arm["label"],
        asked=len(trials),
        completed=_count(trials, "completed"),
        stopped=_count(trials, "stopped"),
        failed=_count(trials, "failed"),
        epochs=sum(len(trial.reports) for trial in trials),
        best=values.get(best) if best is not None else None,
        best_tuned=tuned,
        edges=tuple(edges_of(tuned, state.created["space"].get("tuned", {}))),
    )


def edges_of(tuned: Mapping[str, Any], ranges: Mapping[str, Any]) -> Iterator[Edge]:
    """Each tuned value that lies within `EDGE` of an end of its range.

    Args:
        tuned: full name to value.
        ranges: full name to range, as the source of a space has them.
    """
    for name, value in tuned.items():
        given = ranges.get(name, {})
        low, high = given.get("low"), given.get("high")
        if low is None or high is None:
            continue
        ends = (value, low, high)
        at, start, stop = map(math.log, ends) if given.get("log") else ends
        place = (at - start) / (stop - start)
        if not EDGE < place < 1 - EDGE:
            end: Literal["lower", "upper"] = "lower" if place < 0.5 else "upper"
            yield Edge(name=name, value=value, end=end, low=low, high=high)


def _slot_seconds(state: StudyState, search: Sequence[Trial]) -> float:
    """Wall time of the search times slots, summed over launches.

    A launch counts up to the last thing that was recorded before the next one, so the time
    between launches does not count.
    """
    begin = search[0].asked_at
    moments = sorted(time for trial in state.trials.values() for time in _moments(trial))
    of_search = max(time for trial in search for time in _moments(trial))
    end = state.search_ended_at or of_search
    total = 0.0
    for number, launch in enumerate(state.launches):
        after = state.launches[number + 1].time if number + 1 < len(state.launches) else math.inf
        place = bisect_left(moments, after)  # of the first that is not before the next launch
        seen = moments[place - 1] if place else launch.time
        stop = end if end < after else max(seen, launch.time)
        total += max(0.0, min(stop, end) - max(launch.time, begin)) * launch.slots
    return total


def _confirming_meanwhile(state: StudyState) -> float:
    """Seconds of training of shortlists and confirmation while the search still ran, whose slots they used.

    Epochs that ended later are left out, so at most one for each slot is missing.
    """
    end = state.search_ended_at or math.inf
    return sum(
        report.seconds
        for trial in (*state.of_phase("shortlist"), *state.of_phase("confirm"))
        for report in trial.reports
        if report.time <= end
    )


def _moments(trial: Trial) -> Iterable[float]:
    yield trial.asked_at
    yield from trial.reports.times
    if trial.ended_at is not None:
        yield trial.ended_at


def _count(trials: Sequence[Trial], status: str) -> int:
    return sum(trial.status == status for trial in trials)
