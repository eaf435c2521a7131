"""How far a study is, from its state alone: what `karat watch` shows, and `karat show` of one that runs."""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from karat.cli.studies.watching.decisions import at_epoch
from karat.journal.outcomes import metric_of, planned_trials
from karat.journal.state import StudyState
from karat.journal.trial import Phase, Trial
from karat.space.rates import limits_of
from karat.statistics.metric import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCounts:
    """The trials of one arm.

    Args:
        label: of the arm.
        asked, ended, stopped, failed: numbers of its search trials; stopped and failed ones have ended.
        best: the best last value of the search metric, of trials that did not fail.
        running: trials of any phase that run now.
        planned, confirmed: confirmation runs planned so far, and ended.
    """

    label: str
    asked: int
    ended: int
    stopped: int
    failed: int
    best: float | None
    running: int
    planned: int
    confirmed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RungCount:
    """The search trials of one arm that have reached a rung of early stopping, with their values there."""

    arm: str
    epoch: int
    trials: int
    best: float
    median: float


def counts_by_phase(state: StudyState) -> dict[Phase, dict[str, int]]:
    """Phase to the numbers of its trials that are planned, have ended, were stopped, failed, and run."""
    found: dict[Phase, dict[str, int]] = {}
    for phase, planned in planned_trials(state).items():
        trials = state.of_phase(phase)
        of_status = {
            status: sum(trial.status == status for trial in trials)
            for status in ("stopped", "failed", "running")
        }
        ended = sum(trial.ended for trial in trials)
        found[phase] = {"planned": planned, "ended": ended, **of_status}
    return found


def running_trials(state: StudyState) -> list[Trial]:
    """The trials that run now, as far as the journal knows."""
    return [state.trials[n] for n in sorted(state.unended) if state.trials[n].status == "running"]


def arm_counts(state: StudyState) -> list[ArmCounts]:
    """Each arm's trials, in the order of the space."""
    metric, trials = metric_of(state.created), _by_arm(state)
    cells = state.confirmation["cells"] if state.confirmation else ()
    lengths = len(state.created["confirm"].get("budgets", (1,)))
    planned: dict[str, int] = {}
    for cell in cells:
        runs = state.seeds_of(cell["arm"]) * lengths
        planned[cell["arm"]] = planned.get(cell["arm"], 0) + runs
    found = []
    for arm in state.created["arms"]:
        own = trials.get(arm["label"], [])
        searched = [trial for trial in own if trial.phase == "search"]
        last = (trial.last(metric.name) for trial in searched if trial.status != "failed")
        values = [value for value in last if value is not None]
        found.append(
            ArmCounts(
                label=arm["label"],
                asked=len(searched),
                ended=sum(trial.ended for trial in searched),
                stopped=sum(trial.status == "stopped" for trial in searched),
                failed=sum(trial.status == "failed" for trial in searched),
                best=max(values, key=metric.goodness, default=None),
                running=sum(trial.status == "running" for trial in own),
                planned=planned.get(arm["label"], 0),
                confirmed=sum(trial.phase == "confirm" and trial.ended for trial in own),
            )
        )
    return found


def rung_counts(state: StudyState) -> Iterator[RungCount]:
    """The rungs of the early-stopping rule that trials have reached, arm by arm; none without rungs."""
    metric: Metric = metric_of(state.created)
    searched = state.of_phase("search")
    longest = max((trial.epochs for trial in searched), default=0)
    epochs = [each for each in range(1, longest) if _is_rung(state, each, longest)]
    for label, trials in _by_arm(state).items():
        for epoch in epochs:
            of_arm = [trial for trial in trials if trial.phase == "search"]
            values = [v for t in of_arm if (v := at_epoch(t, epoch, metric.name)) is not None]
            if values:
                yield RungCount(
                    arm=label,
                    epoch=epoch,
                    trials=len(values),
                    best=max(values, key=metric.goodness),
                    median=statistics.median(values),
                )


def budget_used(state: StudyState, now: float | None) -> list[dict[str, Any]]:
    """Each limit of the budget: `limit`, `of` and `spent`, up to the time `now`, or to the last event."""
    spent = dataclasses.asdict(state.usage.until(now))
    limits = limits_of(state.created["space"])
    return [{"limit": key, "of": of, "spent": spent[key]} for key, of in limits.items()]


def _is_rung(state: StudyState, epoch: int, longest: int) -> bool:
    """Whether the rule of a study compares trials after this many epochs, at rungs."""
    settings: Mapping[str, Any] = state.created["early_stopping"]
    name = settings["scheduler"]
    if name == "one_epoch":
        return epoch == 1
    rung, factor = float(settings.get("grace_epochs", 1)), settings.get("reduction_factor", 3)
    if name == "hyperband":
        rung = longest
        while round(rung) > epoch:
            rung /= factor
        return max(1, round(rung)) == epoch and epoch >= settings.get("grace_epochs", 1)
    if name != "asha":
        return False
    while round(rung) < epoch:
        rung *= factor
    return round(rung) == epoch


def _by_arm(state: StudyState) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in state.trials.values():
        if not trial.set_aside:
            found.setdefault(trial.arm, []).append(trial)
    return found
