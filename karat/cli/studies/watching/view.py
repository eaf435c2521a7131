"""What `karat watch` shows of a study at one moment, as lines of text and as a document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from karat.cli.studies.named import Activity
from karat.cli.studies.watching.decisions import activity_text, decision_text, rule_text
from karat.cli.studies.watching.facts import (
    ArmCounts,
    arm_counts,
    budget_used,
    counts_by_phase,
    rung_counts,
    running_trials,
)
from karat.cli.text.layout import duration, pairs, paragraph, table
from karat.cli.text.left import left_text
from karat.forecast.time_left import NOTHING_EXPECTED, Left, time_left
from karat.journal.journal import Event
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial

_PHASES = {"search": "search", "shortlist": "shortlists", "confirm": "confirmation"}
_LEAST_ARMS = 4  # lines of the table of arms: space, head, an arm, and how many more there are
_USED = {"gpu_hours": "GPU hours", "cpu_hours": "CPU hours", "wall_hours": "hours", "usd": "US $"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A study as it is now.

    Args:
        state: of the study.
        activity: whether it really runs.
        events: the last ones that say something.
        now: seconds since the epoch.
    """

    state: StudyState
    activity: Activity
    events: Sequence[Event]
    now: float

    @property
    def until(self) -> float | None:
        """The time up to which usage counts: now while it runs, else the last event."""
        return self.now if self.activity == "running" else None

    @property
    def left(self) -> Left | None:
        """What is left of training; None if it is not known, or nothing runs."""
        if self.activity != "running" or not self.state.launches:
            return None
        return time_left(self.state, self.state.launches[-1].slots, NOTHING_EXPECTED)


def short_line(moment: Moment) -> str:
    """One line for a log: `search 7 of 20 · confirmation 0 of 80 · used 5 min · about 20 min left`."""
    counts = counts_by_phase(moment.state).items()
    told = [f"{_PHASES[phase]} {of['ended']} of {of['planned']}" for phase, of in counts]
    return " · ".join([*told, _time_text(moment)])


def lines_of(moment: Moment, height: int | None = None) -> list[str]:
    """Everything; with a height, as much as fits: first fewer arms, then fewer decisions, then fewer trials."""
    state = moment.state
    head = [
        *paragraph(f"{state.created['name']}: {activity_text(state, moment.activity)}"),
        *paragraph(state.created["question"]),
        "",
        *pairs(_facts(moment)),
    ]
    running = running_lines(state)
    told = [line for event in moment.events for line in _event_lines(event, state)]
    if height is None:
        return [*head, *_arms(state, None), *running, *_news(told)]
    running = running[: max(0, height - len(head))]
    room = height - len(head) - len(running)
    told = told[-min(len(told), max(0, room - 2 - _LEAST_ARMS)) :] if room > 2 + _LEAST_ARMS else []
    room -= len(_news(told))
    arms = list(_arms(state, room)) if room >= _LEAST_ARMS else []
    return [*head, *arms, *running, *_news(told)][:height]


def _news(told: list[str]) -> list[str]:
    return ["", "last decisions (UTC)", *told] if told else []


def document(moment: Moment) -> dict[str, Any]:
    """The same for programs."""
    from karat.report.document import moment as iso

    state, metric = moment.state, metric_of(moment.state.created).name
    left = moment.left
    return {
        "study": state.created["name"],
        "question": state.created["question"],
        "state": moment.activity,
        "metric": metric,
        "began_at": iso(state.created_at),
        "ended_at": iso(state.ended_at),
        "seconds_used": 3600 * state.usage.until(moment.until).wall_hours,
        "seconds_left": None if left is None else left.middle_s,
        "seconds_left_low": None if left is None else left.low_s,
        "seconds_left_high": None if left is None else left.high_s,
        "budget": budget_used(state, moment.until),
        "trials": counts_by_phase(state),
        "arms": [_plain(arm) for arm in arm_counts(state)],
        "running": [trial_json(trial, metric) for trial in running_trials(state)],
        "early_stopping": dict(state.created["early_stopping"]),
        "rungs": [_plain(rung) for rung in rung_counts(state)],
        "decisions": [
            {
                "time": iso(event.time),
                "event": event.kind,
                "trial": event.data.get("trial"),
                "text": decision_text(event, state),
            }
            for event in moment.events
        ],
    }


def _facts(moment: Moment) -> Iterable[tuple[str, str]]:
    state = moment.state
    yield from phase_lines(state)
    yield "time", _time_text(moment)
    for each in budget_used(state, moment.until):
        left = max(0.0, each["of"] - each["spent"])
        unit = _USED[each["limit"]]
        yield "budget", f"{each['spent']:.2f} of {each['of']:g} {unit} used, {left:.2f} left"
    yield "early stopping", rule_text(state)
    yield from _rungs(state)


def phase_lines(state: StudyState) -> Iterable[tuple[str, str]]:
    """Each phase, and how many of its trials have ended."""
    for phase, of in counts_by_phase(state).items():
        text = f"{of['ended']} of {of['planned']}"
        for key, word in (("stopped", "stopped early"), ("failed", "FAILED")):
            text += f", {of[key]} {word}" if of[key] else ""
        yield _PHASES[phase], text


def _time_text(moment: Moment) -> str:
    used = 3600 * moment.state.usage.until(moment.until).wall_hours
    if moment.activity != "running":
        return f"used {duration(used)}"
    left = moment.left
    told = "time left not known yet" if left is None else left_text(left)
    return f"used {duration(used)} · {told}"


def _rungs(state: StudyState) -> Iterable[tuple[str, str]]:
    """The rungs of the arms that are searched now."""
    from karat.report.formatting import Units

    units, busy = (
        Units(metric_of(state.created)),
        {t.arm for t in running_trials(state) if t.phase == "search"},
    )
    by_arm: dict[str, list[str]] = {}
    for rung in rung_counts(state):
        if rung.arm in busy:
            by_arm.setdefault(rung.arm, []).append(
                f"epoch {rung.epoch}: {rung.trials} trials, best {units.number(rung.best)}, "
                f"median {units.number(rung.median)}"
            )
    for arm, told in by_arm.items():
        yield "rungs", f"{arm}: {'; '.join(told)}"


def _arms(state: StudyState, room: int | None) -> Iterable[str]:
    from karat.report.formatting import Units, in_unit

    units, arms = Units(metric_of(state.created)), arm_counts(state)
    shown = arms
    if room is not None and len(arms) + 2 > room:
        shown = sorted(arms, key=lambda arm: -arm.running)[: max(1, room - 3)]
    head = ("arm", "searched", f"best{in_unit(units.unit)}", "confirmed", "ended early")
    rows = [_arm_cells(arm, units.number(arm.best)) for arm in shown]
    yield ""
    yield from table([head, *rows], right=(1, 2, 3))
    if len(shown) < len(arms):
        yield f"... and {len(arms) - len(shown)} more arms"


def _arm_cells(arm: ArmCounts, best: str) -> tuple[str, ...]:
    confirmed = f"{arm.confirmed} of {arm.planned}" if arm.planned else ""
    early = [
        f"{arm.stopped} stopped" * bool(arm.stopped),
        f"{arm.failed} failed" * bool(arm.failed),
    ]
    return (
        arm.label,
        f"{arm.ended} of {arm.asked}",
        best,
        confirmed,
        ", ".join(filter(None, early)),
    )


def running_lines(state: StudyState) -> list[str]:
    """The trials that run now, with their settings and the last value of the metric."""
    from karat.report.formatting import Units, tuned_text

    units, metric = Units(metric_of(state.created)), metric_of(state.created).name
    rows = [("running", "arm", "epoch", metric, "settings")]
    for trial in running_trials(state):
        done = trial.reports[-1].epoch if trial.reports else 0
        value = trial.last(metric)
        shown = "" if value is None else f"{units.number(value)}{units.unit}"
        settings = tuned_text(trial.tuned)
        if trial.phase != "search":
            settings = f"seed {trial.seed_index}, {settings}"
        rows.append(
            (str(trial.number), trial.arm, f"{done} of {trial.epochs}", shown, settings),
        )
    return ["", *table(rows, right=(2, 3))] if len(rows) > 1 else []


def _event_lines(event: Event, state: StudyState) -> list[str]:
    from karat.report.formatting import moment_text

    at = moment_text(event.time).split()[1]
    return paragraph(decision_text(event, state), " " * (len(at) + 2), f"{at}  ")


def trial_json(trial: Trial, metric: str) -> dict[str, Any]:
    """A trial that runs, for programs."""
    return {
        "trial": trial.number,
        "phase": trial.phase,
        "arm": trial.arm,
        "seed_index": trial.seed_index,
        "tuned": dict(trial.tuned),
        "epoch": trial.reports[-1].epoch if trial.reports else 0,
        "epochs": trial.epochs,
        "value": trial.last(metric),
    }


def _plain(facts: Any) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.__slots__}
