"""Which trial's model a command takes, and what is said where its weights are missing."""

from pathlib import Path
from typing import TYPE_CHECKING

from karat.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from karat.journal.state import StudyState
    from karat.journal.trial import Trial
    from karat.tracking.models.tested_model import KeptModel

_NAMED = 5  # trials in a message


def chosen_trial(folder: Path, state: "StudyState", number: int | None) -> tuple["Trial", str]:
    """The trial with this number, by default the one whose model the registry gets; and why, as a phrase.

    Raises:
        InputError: there is no such trial, it keeps no weights, or nothing is confirmed yet.
    """
    if number is not None:
        return _numbered(folder, state, number), "as asked"
    from karat.report.facts.summary import summarise
    from karat.tracking.models.tested_model import best_confirmed

    if not state.created:
        raise InputError(f"{folder}: the study has not begun")
    best = best_confirmed(state)
    if best is None:
        raise InputError(f"{folder}: {_none_yet(state)}")
    trial, values = best
    headline = summarise(state).headline
    whose = "the arm that the answer is about"
    if headline is None or headline.label != trial.arm:
        whose = f"the arm with the best mean {state.created['metric']}"
    seeds = f"of {len(values)} seed{'s' * (len(values) != 1)}"
    so_far = "" if state.status == "completed" else "; the study has not ended, so that may change"
    return trial, f"the best on the validation split {seeds} of {whose}{so_far}"


def model_of(folder: Path, state: "StudyState", trial: "Trial") -> "KeptModel":
    """The model of a trial.

    Raises:
        CheckpointError: its weights are missing or damaged; says which file, and what remains possible.
        DataError: the data set is needed and missing.
    """
    from karat.journal.layout import trial_folder
    from karat.tracking.models.tested_model import kept_model
    from karat.training.checkpoint import kept_weights

    if kept_weights(trial_folder(folder, trial.number)) is None:
        raise CheckpointError(_missing(folder, state, trial))
    try:
        return kept_model(folder, state, trial)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. {_what_remains(folder, state, trial)}") from error


def named(trial: "Trial") -> str:
    """A trial in a few words: `trial 54 (linear, seed 3)`."""
    if trial.phase == "search":
        return f"trial {trial.number} ({trial.arm}, of the search)"
    return f"trial {trial.number} ({trial.arm}, seed {trial.seed_index})"


def _numbered(folder: Path, state: "StudyState", number: int) -> "Trial":
    trial = state.trials.get(number)
    if trial is None:
        known = f"it has 0 to {len(state.trials) - 1}" if state.trials else "it has none yet"
        raise InputError(f"{folder}: there is no trial {number}; {known}")
    if trial.status != "completed":
        status = {
            "stopped": "was stopped early",
            "failed": "has failed",
            "running": "has not ended yet",
            "waiting": "has not ended yet",
        }[trial.status]
        rule = "only completed trials keep weights to predict with"
        raise InputError(f"{folder}: trial {number} {status}; {rule}")
    return trial


def _none_yet(state: "StudyState") -> str:
    """Why there is no default, and which trial can be asked for."""
    begin = "no confirmation run is complete, so no model has been tested"
    if state.status == "running":
        begin += " yet"
    metric, mode = state.created["metric"], state.created["mode"]
    found = [
        (value if mode == "max" else -value, trial.number)
        for trial in state.trials.values()
        if trial.status == "completed" and (value := trial.last(metric)) is not None
    ]
    if not found:
        return f"{begin}, and no other trial is complete"
    return (
        f"{begin}. The best trial of the search so far is {max(found)[1]}: name it to use its model"
    )


def _missing(folder: Path, state: "StudyState", trial: "Trial") -> str:
    from karat.journal.layout import trial_folder

    epoch = None if trial.tested is None else trial.tested["epoch"]
    name = "best-*.pt" if epoch is None else f"tested-{epoch:05d}.pt"
    path = trial_folder(folder, trial.number) / name
    why = " (deleted to free space within resources.disk_gb)" if trial.weights_dropped else ""
    return f"{path}: is missing{why}. {_what_remains(folder, state, trial)}"


def _what_remains(folder: Path, state: "StudyState", trial: "Trial") -> str:
    from karat.journal.layout import trial_folder
    from karat.training.checkpoint import kept_weights

    others = [
        each
        for each in state.trials.values()
        if each.number != trial.number
        and each.status == "completed"
        and kept_weights(trial_folder(folder, each.number)) is not None
    ]
    same = [each.number for each in others if each.arm == trial.arm and each.phase == trial.phase]
    ways = []
    if same:
        ways.append(f"other seeds of {trial.arm} are there: trials {_few(same)}")
    elif others:
        ways.append(f"other trials have theirs: {_few([each.number for each in others])}")
    if not trial.weights_dropped:
        ways.append("if MLflow has the study, the trial's run there has the weights as an artifact")
    return "; ".join(ways)[:1].upper() + "; ".join(ways)[1:] if ways else "No trial has weights"


def _few(numbers: list[int]) -> str:
    more = len(numbers) - _NAMED
    return ", ".join(map(str, numbers[:_NAMED])) + (f" and {more} more" if more > 0 else "")
