"""Trains a trial again from its journal alone, and compares every number with the recorded one.

Nothing is written: the trial is trained in this process, without checkpoints. Interruptions of the
first training are not repeated, since they change no number.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from karat.errors import InputError, NonFiniteError
from karat.journal.evaluations import evaluation_of
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.journal.layout import WEIGHTS as INITIAL
from karat.journal.reports import Report
from karat.journal.state import StudyState, data_of
from karat.journal.trial import Trial
from karat.planning.data_place import sections_at
from karat.tested import WEIGHTS
from karat.training import evaluation
from karat.training.config import TrialConfig
from karat.training.recipes import DEFAULT, with_recipe
from karat.training.trainer import EpochResult, Trainer
from karat.verification.comparison import different
from karat.verification.machine import is_of_this_machine
from karat.verification.scores_again import SHOWN


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a segment was trained: threads of each process, parts of a batch, and processes."""

    threads: int
    micro_batches: int
    processes: int


@dataclass(kw_only=True)
class Reproduced:
    """What training again has shown.

    Args:
        trial: its number.
        epochs: compared.
        metrics: compared, over all epochs.
        images: test images compared; 0 if the trial was not tested image by image.
        first: the first difference, in words; empty if there is none.
        last: differences after the last epoch, in words.
        elsewhere: conditions that are not those of the journal.
    """

    trial: int
    epochs: int = 0
    metrics: int = 0
    images: int = 0
    first: str = ""
    last: str = ""
    elsewhere: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether every number is equal to the last bit."""
        return not self.first

    @property
    def summary(self) -> str:
        """One line: equal, or where first and by how much not."""
        where = (
            f"; {', '.join(self.elsewhere)} not as recorded, so rounding may differ"
            if self.elsewhere
            else ""
        )
        if self.first:
            last = f"; {self.last}" if self.last else ""
            return f"trial {self.trial}: differs first at {self.first}{last}{where}"
        tested = f" and the answers for {self.images} test images" if self.images else ""
        return (
            f"trial {self.trial}: {self.metrics} numbers of {self.epochs} epochs{tested} are equal "
            f"to the last bit{where}"
        )


def reproduce(folder: Path, number: int, say: Callable[[str], None]) -> Reproduced:
    """Train a trial again for the epochs that its journal has.

    Args:
        folder: of the study.
        number: of the trial.
        say: is called with one line for each epoch.

    Raises:
        InputError: there is no such trial, it has no report, or its data is missing or has changed.
        JournalError: the journal is damaged.
    """
    events = list(read_events(folder / JOURNAL))
    state = StudyState.of(events)
    trial = _trial(state, number, folder)
    config = TrialConfig.from_sections(sections_at(sections_of(state, trial), state.data_place))
    _check_data(state, trial, config, folder)
    by_epoch = _conditions(events, number)
    done = Reproduced(trial=number)
    trainer = _trainer(state, trial, config, by_epoch[trial.reports[0].epoch], folder)
    for report in trial.reports:
        how = by_epoch[report.epoch]
        torch.set_num_threads(how.threads)
        trainer.micro_batches = how.micro_batches
        try:
            result = trainer.run_epoch()
        except NonFiniteError as error:
            done.first = done.first or f"epoch {report.epoch}: {error}"
            break
        assert isinstance(result, EpochResult)
        say(_compare_epoch(done, trial, report, result))
        if result.tested is not None:
            _compare_tested(done, trial, result)
    done.elsewhere = _elsewhere(state, trial, trainer, by_epoch.values())
    return done


def sections_of(state: StudyState, trial: Trial) -> dict[str, Mapping[str, Any]]:
    """The configuration of a trial with all settings of its recipe, from the journal.

    Of a journal that does not have them, those of the recipe of today.
    """
    training = dict(trial.config["training"])
    recorded = state.created.get("recipes", {}).get(training.get("recipe", DEFAULT))
    if recorded is None:
        return dict(trial.config)
    return {**trial.config, "training": with_recipe(training, recorded)}


def _trial(state: StudyState, number: int, folder: Path) -> Trial:
    trial = state.trials.get(number)
    if trial is None:
        known = f"has trials 0 to {max(state.trials)}" if state.trials else "has no trials"
        raise InputError(f"trial {number}: does not exist; {folder} {known}")
    if not trial.reports:
        raise InputError(f"trial {number}: has no report, so there is nothing to compare with")
    return trial


def _check_data(state: StudyState, trial: Trial, config: TrialConfig, folder: Path) -> None:
    recorded = data_of(state.created["data"], trial.config["data"])["fingerprint"]
    found = config.data.check()
    if recorded != found:
        raise InputError(
            f"{folder}: the data set has changed since the study began (sha256 recorded "
            f"{recorded[:SHOWN]}, found {found[:SHOWN]}), so its trials cannot be trained again"
        )


def _conditions(events: Iterable[Event], number: int) -> dict[int, Conditions]:
    """How each epoch of a trial was trained: out of memory, a trial goes on in smaller parts."""
    found: dict[int, Conditions] = {}
    now = Conditions(threads=1, micro_batches=1, processes=1)
    for event in events:
        data = event.data
        if data.get("trial") != number:
            continue
        if event.kind == "segment_started":
            now = Conditions(
                threads=data.get("threads", 1),
                micro_batches=data.get("micro_batches", 1),
                processes=data.get("processes", 1),
            )
        elif event.kind == "reported":
            found[data["epoch"]] = now
    return found


def _trainer(
    state: StudyState, trial: Trial, config: TrialConfig, how: Conditions, folder: Path
) -> Trainer:
    torch.set_num_threads(how.threads)
    return Trainer(
        config,
        trial.seed,
        initial=folder / INITIAL,
        test_at_end=trial.phase == "confirm",
        weights=state.created["confirm"].get("weights", WEIGHTS),
        metric=state.created["metric"],
        mode=state.created["mode"],
        micro_batches=how.micro_batches,
    )


def _compare_epoch(done: Reproduced, trial: Trial, report: Report, result: EpochResult) -> str:
    """Compare the metrics of one epoch; adds to `done` and returns a line."""
    names = dict.fromkeys([*report.metrics, *result.metrics])
    off = [
        _difference(name, report.metrics.get(name), result.metrics.get(name))
        for name in names
        if report.metrics.get(name) != result.metrics.get(name)
    ]
    done.epochs += 1
    done.metrics += len(names)
    where = f"epoch {report.epoch} of {trial.epochs}"
    done.last = f"after epoch {report.epoch} {', '.join(off)}" if off and done.first else ""
    if off and not done.first:
        done.first = f"{where}: {', '.join(off)}"
    return f"{where}: {', '.join(off) or 'equal'}"


def _difference(name: str, recorded: float | None, found: float | None) -> str:
    if recorded is None or found is None:
        return f"{name} recorded {recorded}, found {found}"
    return f"{name} recorded {recorded}, found {found} ({found - recorded:+.2g})"


def _compare_tested(done: Reproduced, trial: Trial, result: EpochResult) -> None:
    """Compare the test evaluation image by image, the weights, and shifted images; adds to `done`."""
    recorded, found = evaluation_of(trial), result.tested
    if recorded is None or found is None:
        return
    off = []
    if recorded.images != found.images:
        off.append(f"{recorded.images} test images recorded, {found.images} found")
    elif others := int(np.count_nonzero(recorded.bits() != found.bits())):
        off.append(f"{others} of {found.images} test images have another answer")
    elif recorded.predictions != found.predictions:
        off.append("other predicted classes, with as many right")
    off += [
        f"other {what}"
        for what, name in (("test labels", "labels"), ("test images", "pixels"))
        if getattr(recorded, name) != getattr(found, name)
    ]
    if recorded.weights != found.weights:
        off.append("other weights")
    off += [
        f"other answers on images with {name}"
        for name, strengths in (trial.shifted or {}).items()
        if _answers(strengths) != _answers((result.shifted or {}).get(name, ()))
    ]
    done.images = found.images
    if off:
        text = f"the test after epoch {trial.epochs}: {', '.join(off)}"
        done.last = "; ".join(filter(None, [done.last, text if done.first else ""]))
        done.first = done.first or text


def _answers(strengths: Iterable[Mapping[str, Any]]) -> list[str]:
    """The sha256 of the predicted classes at each strength."""
    return [each["predictions"] for each in strengths]


def _elsewhere(
    state: StudyState, trial: Trial, trainer: Trainer, how: Iterable[Conditions]
) -> list[str]:
    """Names of the conditions that are not those of the journal."""
    found = ["processes"] if any(each.processes > 1 for each in how) else []
    tested = evaluation_of(trial)
    if tested is not None:
        now = evaluation.conditions(trainer.model, trainer.group, trainer.micro_batches)
        found += [name for name in different(tested.where, now) if name not in found]
    elif not is_of_this_machine(state):
        found.append("torch or cpu")
    return found
