"""The test evaluations in a journal: which trials have one, and whether they agree with their values."""

from collections.abc import Iterator, Mapping
from typing import Any

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.tested import Tested

ACCURACY, LOSS = "test_accuracy", "test_loss"


def keeps_evaluations(state: StudyState) -> bool:
    """Whether the study began with a version of karat that records test evaluations image by image."""
    return "weights" in state.original.get("confirm", {})


def evaluation_of(trial: Trial) -> Tested | None:
    """The recorded test evaluation of a trial; None if it has none that can be read."""
    try:
        return None if trial.tested is None else Tested.read(trial.tested)
    except ValueError:
        return None  # `contradictions` says why


def contradictions(state: StudyState) -> Iterator[tuple[Trial, str]]:
    """What the journal alone shows to be wrong with test values, as (trial, what)."""
    for trial in state.trials.values():
        for report in trial.reports:
            is_due = trial.phase == "confirm" and report.epoch == trial.epochs
            if not is_due and (found := _test_values(report.metrics)):
                yield (
                    trial,
                    f"epoch {report.epoch} of {trial.epochs} has {found}, but only a "
                    "confirmation run is tested, once, after its last epoch",
                )
        if trial.phase == "confirm" and trial.status == "completed":
            for text in _of_run(trial, keeps_evaluations(state)):
                yield trial, text


def _of_run(trial: Trial, is_recorded: bool) -> Iterator[str]:
    """Contradictions of a completed confirmation run."""
    if trial.tested is None:
        if is_recorded:
            yield "the journal has no test evaluation image by image, which this study records"
        return
    try:
        tested = Tested.read(trial.tested)
    except ValueError as error:
        yield f"the journal's test evaluation cannot be read: {error}"
        return
    if not 1 <= tested.epoch <= trial.epochs:
        yield f"weights of epoch {tested.epoch} were tested, but the trial has {trial.epochs}"
    recorded = trial.last(ACCURACY)
    if recorded != tested.accuracy():
        right = round(tested.accuracy() * tested.images)
        yield (
            f"{ACCURACY} recorded {recorded}, but image by image the journal has {right} of "
            f"{tested.images} right, which is {tested.accuracy()}"
        )


def _test_values(metrics: Mapping[str, Any]) -> str:
    return ", ".join(name for name in metrics if name.startswith("test_"))
