"""The decisions of a study as sentences, with the numbers behind them."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.causes import Audit, SegmentEnd, Stop
from karat.cli.studies.named import Activity
from karat.journal.journal import Event
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.journal.wording import (
    constraint_text,
    failure_text,
    interrupt_text,
    search_cut_text,
    study_failure_text,
    trial_text,
)
from karat.report.formatting import Units, interrupted_text, listed, way_on

_TOLD = (SegmentEnd.LOST, SegmentEnd.MEMORY, SegmentEnd.CHECKPOINT)
_MOST_CELLS = 4  # named when their confirmation is planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A search trial among those that it was compared with, after the same number of epochs.

    Args:
        epoch: epochs done.
        value: of the search metric.
        others: values of the other trials after that epoch, of those that had it by then.
        place: among all of them, from 1; equal values share the better place.
    """

    epoch: int
    value: float
    others: tuple[float, ...]
    place: int


def rung_of(trial: Trial, epoch: int, state: StudyState) -> Rung | None:
    """Where a trial stood after an epoch, by the time it ended; None if it has not reported that epoch."""
    metric = metric_of(state.created)
    value = at_epoch(trial, epoch, metric.name)
    if value is None:
        return None
    others = tuple(
        theirs
        for each in state.of_phase("search")
        if each is not trial and is_compared(trial, each, state.created["early_stopping"])
        if (theirs := at_epoch(each, epoch, metric.name, trial.ended_at)) is not None
    )
    better = sum(metric.goodness(each) > metric.goodness(value) for each in others)
    return Rung(epoch=epoch, value=value, others=others, place=1 + better)


def is_compared(trial: Trial, other: Trial, early_stopping: Mapping[str, Any]) -> bool:
    """Whether early stopping compares these two search trials."""
    if not early_stopping.get("by_arm", True):
        return True
    return (trial.arm, trial.tuning) == (other.arm, other.tuning)


def at_epoch(trial: Trial, epoch: int, metric: str, by: float | None = None) -> float | None:
    """The metric after this many epochs, if it was reported, and by this time; else None."""
    for place, each in enumerate(trial.reports.epochs):
        if each == epoch and (by is None or trial.reports.times[place] <= by):
            return trial.reports[place].metrics.get(metric)
    return None


def why_ended(trial: Trial, state: StudyState) -> str:
    """Why a trial ended, with the numbers behind it; empty for one that has not ended."""
    if not trial.ended:
        return ""
    if trial.status == "failed":
        return f"failed: {trial_text(trial)}"
    if trial.status == "stopped":
        text = f"stopped: {trial_text(trial)}"
        if trial.cause != Stop.EARLY_STOPPING or "epoch" not in trial.details:
            return text
        return text + _compared(trial, trial.details["epoch"], state)
    if trial.cause == Audit.FINISHED_ANYWAY:
        epoch = trial.details["epoch"]
        rule = state.created["early_stopping"]["scheduler"]
        return (
            f"completed, although {rule} would have stopped it at epoch {epoch}"
            f"{_compared(trial, epoch, state)}; it was finished to see what that rule costs"
        )
    return f"completed{_value(trial, state)}"


def activity_text(state: StudyState, activity: Activity) -> str:
    """Whether a study runs, and how it goes on if it does not, as a phrase."""
    if activity == "interrupted":
        why = (state.cause, state.details)
        return f"{interrupted_text(*why)}; {way_on(*why)}"
    if activity == "failed":
        return f"failed: {study_failure_text(state.cause, state.details)}"
    if activity == "killed":
        return "killed; the command that launched it goes on"
    return "running on another machine, or killed there" if activity == "unknown" else activity


def rule_text(state: StudyState) -> str:
    """The early-stopping rule with its settings: `asha, grace_epochs 1, reduction_factor 3`."""
    rule = dict(state.created["early_stopping"])
    return ", ".join([rule.pop("scheduler"), *(f"{key} {value}" for key, value in rule.items())])


def decision_text(event: Event, state: StudyState) -> str:
    """What an event says that was decided or happened; empty for events without news.

    Args:
        event: of the study.
        state: after the event, or later.
    """
    data = event.data
    if event.kind == "trial_ended":
        trial = state.trials[data["trial"]]
        return f"{_named(trial)} {why_ended(trial, state)}"
    if event.kind == "segment_ended" and data["cause"] in _TOLD:
        why = failure_text(data["cause"], data.get("details", {}))
        return f"{_named(state.trials[data['trial']])} is to go on from its last checkpoint: {why}"
    return _of_study(event.kind, data, state)


def _of_study(kind: str, data: Mapping[str, Any], state: StudyState) -> str:
    if kind == "launched":
        return f"launched, {data['slots']} trials at a time"
    if kind == "interrupted":
        return f"interrupted: {interrupt_text(data['cause'], data['details'])}"
    if kind == "search_cut":
        return f"the search ends here: {search_cut_text(data['details'])}"
    if kind == "trial_ruled_out":
        value = f"{data['value']:,.0f} {data['metric']}"
        return f"a proposal for {data['arm']} is not trained: {value}, and {constraint_text(data)}"
    if kind == "shortlist_planned":
        labels = [each["label"] for each in data["contests"]]
        return f"shortlists are trained again: {listed(labels)}"
    if kind == "confirmation_planned" and data["cells"]:
        return f"to be confirmed: {_cells(data['cells'], state)}"
    if kind == "seeds_added":
        return "more seeds: " + listed([f"{arm} now {n}" for arm, n in data["seeds"].items()])
    if kind == "study_extended":
        return f"extended: {'; '.join(data['changes'])}"
    if kind == "study_ended" and data["status"] == "failed":
        return f"failed: {study_failure_text(data.get('cause', ''), data.get('details', {}))}"
    return "completed" if kind == "study_ended" else ""


def _cells(cells: list[Mapping[str, Any]], state: StudyState) -> str:
    units = Units(metric_of(state.created))
    told = [
        f"{cell['arm']} as in trial {cell['trial']}"
        + ("" if cell.get("value") is None else f" ({units.number(cell['value'])}{units.unit})")
        for cell in cells[:_MOST_CELLS]
    ]
    more = len(cells) - _MOST_CELLS
    return listed([*told, f"{more} more"] if more > 0 else told)


def _named(trial: Trial) -> str:
    return f"trial {trial.number} ({trial.arm})"


def _value(trial: Trial, state: StudyState) -> str:
    metric = metric_of(state.created)
    value, units = trial.last(metric.name), Units(metric)
    return "" if value is None else f", {metric.name} {units.number(value)}{units.unit}"


def _compared(trial: Trial, epoch: int, state: StudyState) -> str:
    """`, val_accuracy 91.20 %, place 5 of 6 there (best 96.10 %, median 93.00 %)`."""
    metric = metric_of(state.created)
    found, units = rung_of(trial, epoch, state), Units(metric)
    if found is None:
        return ""
    text = f", {metric.name} {units.number(found.value)}{units.unit}"
    if not found.others:
        return text
    best = max(found.others, key=metric.goodness)
    return (
        f"{text}, place {found.place} of {len(found.others) + 1} after that epoch (of the others the best "
        f"{units.number(best)}, the median {units.number(statistics.median(found.others))})"
    )
