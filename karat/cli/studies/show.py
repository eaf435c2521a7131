"""`karat show`: what a study found and cost, and what runs now; or one of its trials."""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import Activity, activity_of, add_study, state_of, study_of
from karat.cli.studies.watching.decisions import activity_text
from karat.cli.studies.watching.facts import budget_used, counts_by_phase, running_trials
from karat.cli.studies.watching.view import phase_lines, running_lines, trial_json
from karat.cli.text.layout import duration, pairs, say
from karat.cli.text.next_steps import after, next_lines
from karat.errors import InputError
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState


def _add(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument(
        "trial", type=int, nargs="?", help="number of one trial, to show that alone"
    )
    parser.add_argument(
        "--mlflow",
        action="store_true",
        help="ask MLflow for the run of the trial, which takes seconds",
    )
    add_json(parser)


def _show(options: argparse.Namespace) -> int:
    folder = study_of(options)
    if options.trial is not None:
        from karat.cli.studies.show_trial import show_trial

        return show_trial(folder, options.trial, mlflow=options.mlflow, is_json=options.json)
    if options.mlflow:
        raise InputError("--mlflow: is about one trial; name its number after the study")
    state = state_of(folder)
    from karat.report.facts.summary import summarise

    summary = summarise(state)
    activity = activity_of(folder, state.status)
    if options.json:
        from karat.report.document import document

        more = {"folder": str(folder), **_now_json(state, activity)}
        print_json("show", {**document(summary, state), **more})
        return OK
    from karat.report.writer import render_terminal
    from karat.terminal import make_console

    say([*pairs(_facts(folder, state, activity)), ""])
    render_terminal(summary, make_console())
    if activity == "running":
        say(running_lines(state))
    say(next_lines(folder, *after("show", activity)))
    return OK


def _facts(folder: Path, state: StudyState, activity: Activity) -> Iterable[tuple[str, str]]:
    from karat.report.formatting import moment_text, text_of

    yield "study", state.created["name"]
    yield "folder", str(folder)
    yield "state", activity_text(state, activity)
    yield from phase_lines(state)
    ended = "" if state.ended_at is None else f", ended {moment_text(state.ended_at)}"
    yield "time", f"began {moment_text(state.created_at)}{ended}"
    yield "used", _used(state, _until(activity))
    for each in budget_used(state, _until(activity)):
        yield "budget", f"{each['limit']} {each['spent']:.3g} of {each['of']:g}"
    factors = {name: levels for name, levels in _levels(state).items() if len(levels) > 1}
    for name, levels in factors.items():
        yield "factor", f"{name}: {', '.join(map(text_of, levels))}"


def _levels(state: StudyState) -> dict[str, list[Any]]:
    """Each factor and the levels that its arms have."""
    found: dict[str, list[Any]] = {}
    for arm in state.created["arms"]:
        for name, level in arm["factors"].items():
            levels = found.setdefault(name, [])
            if level not in levels:
                levels.append(level)
    return found


def _used(state: StudyState, until: float | None) -> str:
    spent = state.usage.until(until)
    parts = [duration(3600 * spent.wall_hours)]
    if spent.cpu_hours:
        parts.append(f"{spent.cpu_hours:.3g} CPU hours")
    if spent.gpu_hours:
        parts.append(f"{spent.gpu_hours:.3g} GPU hours")
    if spent.usd:
        parts.append(f"{spent.usd:.2f} US dollars")
    launches = len(state.launches)
    return f"{', '.join(parts)} in {launches} launch{'es' * (launches != 1)}"


def _until(activity: Activity) -> float | None:
    return time.time() if activity == "running" else None


def _now_json(state: StudyState, activity: Activity) -> dict[str, Any]:
    """What the document of a study's facts does not have: where it is now."""
    spent, metric = state.usage.until(_until(activity)), metric_of(state.created).name
    is_running = activity == "running"
    return {
        "state": activity,
        "phases": counts_by_phase(state),
        "spent": {
            "wall_hours": spent.wall_hours,
            "cpu_hours": spent.cpu_hours,
            "gpu_hours": spent.gpu_hours,
            "usd": spent.usd,
        },
        "budget": budget_used(state, _until(activity)),
        "launches": len(state.launches),
        "running": [trial_json(each, metric) for each in running_trials(state) if is_running],
    }


SHOW = Command(_add, _show)
