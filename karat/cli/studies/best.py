"""`karat best`: the configuration that a study ends with, as YAML to paste into a space."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import activity_of, add_study, state_of, study_of
from karat.cli.text.layout import paragraph, say
from karat.cli.text.next_steps import after, next_lines
from karat.errors import StudyError
from karat.journal.outcomes import metric_of
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.report.formatting import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The trial that a study ends with, or has so far.

    Args:
        trial: the trial.
        why: it is this one, as a phrase.
        is_confirmed: whether it is a confirmation run, which was tested.
        checkpoint: its weights, if they are there.
    """

    trial: Trial
    why: str
    is_confirmed: bool
    checkpoint: Path | None


def _add(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)


def _best(options: argparse.Namespace) -> int:
    folder = study_of(options)
    state = state_of(folder)
    found = best_of(folder, state)
    if options.json:
        print_json("best", _json(folder, state, found))
        return OK
    say(f"# {line}".rstrip() for line in _comments(folder, state, found))
    say(_yaml(found.trial).splitlines())
    activity = activity_of(folder, state.status)
    say(f"# {line}".rstrip() for line in next_lines(folder, *after("best", activity)))
    return OK


def best_of(folder: Path, state: StudyState) -> Best:
    """The best trial of the headline's arm, before the confirmation the best one of the search.

    Raises:
        StudyError: no trial has been completed yet.
    """
    from karat.tracking.models.tested_model import best_confirmed

    if not state.created:
        raise StudyError(f"{folder}: the study has not begun; there is no best configuration yet")
    confirmed = best_confirmed(state)
    if confirmed is not None:
        trial, values = confirmed
        return Best(
            trial=trial,
            why=_why_confirmed(trial, len(values), state),
            is_confirmed=True,
            checkpoint=checkpoint_of(folder, trial),
        )
    metric = metric_of(state.created)
    searched = [
        (metric.goodness(value), -trial.number, trial)
        for trial in state.of_phase("search")
        if trial.status == "completed" and (value := trial.last(metric.name)) is not None
    ]
    if not searched:
        raise StudyError(f"{folder}: no trial has been completed; there is no best configuration")
    trial = max(searched)[2]
    why = "the best trial of the search so far, on the validation split; nothing is confirmed yet"
    return Best(trial=trial, why=why, is_confirmed=False, checkpoint=checkpoint_of(folder, trial))


def checkpoint_of(folder: Path, trial: Trial) -> Path | None:
    """The weights that a trial keeps; None if they are not there."""
    from karat.journal.layout import trial_folder
    from karat.training.checkpoint import kept_weights

    return kept_weights(trial_folder(folder, trial.number))


def checkpoint_text(folder: Path, trial: Trial) -> str:
    """Where a trial's weights are, or why they are not there."""
    found = checkpoint_of(folder, trial)
    if found is not None:
        return str(found)
    if trial.weights_dropped:
        return "deleted to free disk space (resources.disk_gb)"
    if trial.status == "stopped":
        return "none: a trial that was stopped early keeps no weights"
    return "missing: deleted since" if trial.status == "completed" else "none of a completed trial"


def _why_confirmed(trial: Trial, seeds: int, state: StudyState) -> str:
    """As `best_confirmed` chooses."""
    from karat.report.facts.summary import summarise
    from karat.report.shortlist_text import where_best

    summary = summarise(state)
    headline = summary.headline
    if headline is None or headline.label != trial.arm:
        arm = f"{trial.arm}, the arm with the best mean {summary.metric.name}"
    elif summary.is_final:
        arm = f"{trial.arm}, the arm that the answer is about"
    else:
        arm = f"{trial.arm}, the arm that did best in the {where_best(summary)}"
    so_far = "" if summary.is_final else " so far; the study has not ended, so that may change"
    count = f"{seeds} seed{'s' * (seeds != 1)}"
    return f"on the validation split the best of {count} of {arm}{so_far}"


def _comments(folder: Path, state: StudyState, found: Best) -> Iterable[str]:
    trial, metric = found.trial, metric_of(state.created)
    units = Units(metric)
    yield from paragraph(f"{state.created['name']}, trial {trial.number}: {found.why}.")
    values = [f"{metric.name} {units.number(trial.of_kept_weights(metric.name))}{units.unit}"]
    if found.is_confirmed:
        values.append(f"{metric.test} {units.number(trial.last(metric.test))}{units.unit}")
        values += list(_mean_of_arm(trial, state, units))
    yield from paragraph(f"{', '.join(values)}.")
    if found.is_confirmed:
        yield from paragraph(
            "The value of a single best seed is no claim: it was picked as the best of several. The "
            "claim is the comparison of the arms in the report."
        )
    yield from paragraph(f"checkpoint: {checkpoint_text(folder, trial)}")


def _mean_of_arm(trial: Trial, state: StudyState, units: Units) -> Iterable[str]:
    from karat.journal.outcomes import test_values

    metric = units.metric
    runs = [
        each
        for each in state.of_phase("confirm")
        if each.arm == trial.arm and each.budget == trial.budget
    ]
    values = list(test_values(runs, metric).values())
    if len(values) > 1:
        mean = sum(values) / len(values)
        yield f"mean {metric.test} of its {len(values)} seeds {units.number(mean)}{units.unit}"


def _yaml(trial: Trial) -> str:
    """The sections of a space, with the values of this trial."""
    import yaml

    sections = json.loads(json.dumps(dict(trial.config)))
    text: str = yaml.safe_dump(sections, sort_keys=False, default_flow_style=None, width=100)
    return text


def _json(folder: Path, state: StudyState, found: Best) -> dict[str, Any]:
    trial, metric = found.trial, metric_of(state.created)
    return {
        "study": state.created["name"],
        "state": activity_of(folder, state.status),
        "trial": trial.number,
        "phase": trial.phase,
        "arm": trial.arm,
        "seed": trial.seed,
        "seed_index": trial.seed_index,
        "epochs": trial.epochs,
        "why": found.why,
        "is_confirmed": found.is_confirmed,
        "metric": metric.name,
        "validation": trial.of_kept_weights(metric.name),
        "test": trial.last(metric.test) if found.is_confirmed else None,
        "checkpoint": None if found.checkpoint is None else str(found.checkpoint),
        "config": trial.config,
    }


BEST = Command(_add, _best)
