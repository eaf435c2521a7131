"""Evaluates the weights of every confirmed run again, and compares with the journal.

Compared: what the journal states about its question, with the space that it holds; the data set; and for every
completed confirmation run its weights, the answer for each test image, test accuracy and loss, all scores of the
clean test images, and the validation values of the epoch whose weights were tested. What is not compared is said
in `Verified.unchecked`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from karat.errors import CheckpointError, InputError
from karat.journal.evaluations import contradictions, evaluation_of
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL, trial_folder
from karat.journal.state import StudyState
from karat.journal.state import data_of as record_of
from karat.journal.trial import Trial
from karat.study.question import compare_question
from karat.tested import Tested
from karat.training.checkpoint import epoch_of, kept_weights
from karat.verification.again import Kept, Models, evaluate_again, read_kept
from karat.verification.comparison import Compared, compare, compare_values
from karat.verification.data_again import of_data
from karat.verification.machine import is_of_this_machine
from karat.verification.scores_again import SHOWN


@dataclass(kw_only=True)
class Verified:
    """What the verification of a study says.

    Args:
        findings: one line for each value, file or image list that is not as recorded.
        notes: what could not be verified, or only up to rounding, and why.
        runs: completed confirmation runs.
        exact: runs whose results are equal to the last bit.
        rounded: runs whose results are equal up to rounding.
        images: test images of a run; of several data sets the most.
        counts: different numbers of test images of the runs.
        unchecked: what was not compared, and what compares it, as sentences.
    """

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    runs: int = 0
    exact: int = 0
    rounded: int = 0
    images: int = 0
    counts: set[int] = field(default_factory=set)
    unchecked: list[str] = field(default_factory=list)

    def add(self, run: "Verified") -> None:
        """Add what was found of one run."""
        self.findings += run.findings
        self.notes += run.notes
        self.exact += run.exact
        self.rounded += run.rounded
        self.images = max(run.images, self.images)
        self.counts |= {run.images} if run.images else set()

    @property
    def summary(self) -> str:
        """One line that says what was verified and what was not."""
        rest = self.runs - self.exact - self.rounded
        found = f"{len(self.findings)} finding{'' if len(self.findings) == 1 else 's'}"
        images = " or ".join(map(str, sorted(self.counts))) or str(self.images)
        return (
            f"{self.runs} confirmed runs on {images} clean test images: {self.exact} verified to the "
            f"last bit, {self.rounded} up to rounding, {rest} not verified; {found}"
        )


def verify(folder: Path, *, shifted: bool = False) -> Verified:
    """Verify every completed confirmation run of a study.

    Args:
        folder: of the study; may be running.
        shifted: whether the answers on corrupted copies of the test images are repeated too, which takes the time
            of as many tests as there are copies.

    Raises:
        JournalError: the journal is damaged.
        InputError: no confirmation run is complete, none was tested on corrupted copies although they are asked
            for, or the data set is missing here.
    """
    events = list(read_events(folder / JOURNAL))
    state = StudyState.of(events)
    runs = [
        trial
        for trial in state.trials.values()
        if trial.phase == "confirm" and trial.status == "completed"
    ]
    if not runs:
        raise InputError(f"{folder}: no confirmation run is complete; there is nothing to verify")
    has_copies = any(trial.shifted for trial in runs)
    if shifted and not has_copies:
        raise InputError(
            f"--shifted: no run of {folder} was tested on corrupted copies of the images"
        )
    question = compare_question(events, folder)
    done = Verified(runs=len(runs), findings=question.findings)
    done.unchecked = list(_unchecked(copies=has_copies and not shifted))
    wrong = list(contradictions(state))
    done.findings += [f"trial {trial.number}: {text}" for trial, text in wrong]
    for run in _of_each_data_set(state, runs):
        done.findings += of_data(state, run)
    study = _Study(folder, state, runs, {trial.number for trial, _ in wrong}, shifted=shifted)
    found: dict[int, Verified] = {}
    for trial in sorted(runs, key=lambda each: each.arm):  # those of one model after each other
        found[trial.number] = Verified()
        study.verify(trial, found[trial.number])
    for trial in runs:
        done.add(found[trial.number])
    done.notes = [*question.notes, *_grouped(done.notes)]
    return done


class _Study:
    """What the runs of a study have in common; `wrong` are trials that have a finding already."""

    def __init__(
        self,
        folder: Path,
        state: StudyState,
        runs: Sequence[Trial],
        wrong: Collection[int],
        *,
        shifted: bool,
    ) -> None:
        self.folder, self.state, self.wrong, self.shifted = folder, state, wrong, shifted
        self._owners = {
            tested.weights: trial.number for trial in runs if (tested := evaluation_of(trial))
        }
        self._is_here: bool | None = None
        self._models = Models()

    def verify(self, trial: Trial, done: Verified) -> None:
        """Verify one run; adds to `done`."""
        name = f"trial {trial.number}"
        if trial.tested is not None and evaluation_of(trial) is None:
            return  # one of the contradictions
        try:
            found = self._compared(trial, done)
        except (CheckpointError, RuntimeError) as error:
            done.findings.append(f"{name}: {' '.join(str(error).split())}")
            return
        if found is None:
            return
        done.findings += [f"{name}: {text}" for text in found.findings]
        if found.findings or trial.number in self.wrong:
            return
        if not found.differences:
            done.exact += 1
            return
        done.rounded += 1
        done.notes.append(
            f"{name}: {', '.join(found.differences)} not as recorded, so results may be rounded "
            f"otherwise: {found.flipped} of the {found.undecided} images whose answer rounding "
            "can change are different"
        )

    def _compared(self, trial: Trial, done: Verified) -> Compared | None:
        """The comparison; None if there is none, with the reason in `done`."""
        tested = evaluation_of(trial)
        path = kept_weights(trial_folder(self.folder, trial.number))
        if path is None:
            raise CheckpointError("its weights are missing")
        kept = self._read(path, trial)
        if tested is None:
            return self._of_older_version(trial, kept, done)
        if wrong := self._wrong_weights(kept, tested):
            return Compared(findings=(f"{path.name}: {wrong}",))
        threads = int(tested.where.get("threads", 1))
        parts = int(tested.where.get("micro_batches", 1))
        again = evaluate_again(
            trial,
            kept,
            self._models,
            threads=threads,
            micro_batches=parts,
            data_place=self.state.data_place,
            shifted=self.shifted,
        )
        done.images = len(again.found.labels)
        return compare(trial, tested, again, shifted=self.shifted)

    def _read(self, path: Path, trial: Trial) -> Kept:
        """The kept weights.

        Raises:
            CheckpointError: damaged, or of another trial, which is named if it is known.
        """
        try:
            return read_kept(path, trial.fingerprint)
        except CheckpointError as error:
            try:
                weights = read_kept(path).weights
            except (CheckpointError, KeyError, AttributeError):
                raise error from None
            raise CheckpointError(f"{error}{self._owner_of(weights)}") from error

    def _owner_of(self, weights: str) -> str:
        number = self._owners.get(weights)
        return "" if number is None else f"; these are the weights of trial {number}"

    def _wrong_weights(self, kept: Kept, tested: Tested) -> str:
        if kept.weights != tested.weights:
            return (
                f"has other weights than those tested: sha256 recorded {tested.weights[:SHOWN]}, "
                f"found {kept.weights[:SHOWN]}{self._owner_of(kept.weights)}"
            )
        if kept.epoch != tested.epoch:
            return f"weights of epoch {tested.epoch} recorded, of epoch {kept.epoch} found"
        return ""

    def _of_older_version(self, trial: Trial, kept: Kept, done: Verified) -> Compared | None:
        """A run whose journal has no test evaluation: its best weights may be those tested."""
        epoch = epoch_of(kept.path)
        if epoch != trial.epochs:
            done.notes.append(
                f"trial {trial.number}: not verified: karat was older, and kept the weights of the "
                "best epoch, while those of the last epoch were tested"
            )
            return None
        again = evaluate_again(
            trial,
            kept,
            self._models,
            threads=trial.threads or 1,
            micro_batches=trial.micro_batches,
            data_place=self.state.data_place,
        )
        done.images = len(again.found.labels)
        if self._is_here is None:
            self._is_here = is_of_this_machine(self.state)
        return compare_values(trial, again, is_same=self._is_here)


def _of_each_data_set(state: StudyState, runs: Sequence[Trial]) -> list[Trial]:
    """The first run on each data set that the journal names."""
    first: dict[int, Trial] = {}
    for run in runs:
        first.setdefault(id(record_of(state.created["data"], run.config["data"])), run)
    return list(first.values())


def _unchecked(*, copies: bool) -> Iterator[str]:
    """What `verify` does not compare, and what does.

    Args:
        copies: whether there are answers on corrupted copies that were not repeated.
    """
    yield (
        "training losses, learning rates, values of epochs other than the tested one, and all values of trials of the "
        "search and of shortlists: karat reproduce STUDY TRIAL trains one again and compares"
    )
    yield "which trials were run, stopped and confirmed, and with what: karat replay STUDY"
    if copies:
        yield "answers on corrupted copies of the test images: karat verify STUDY --shifted"
    yield (
        "seconds, memory, images per second, machines and prices: they were noted as they were, and no command can find "
        "them again"
    )
    yield (
        "a question that was changed in the search space and in all that follows from it: a report or an MLflow run of "
        "before has its hash"
    )


def _grouped(notes: Sequence[str]) -> list[str]:
    """Notes, where several trials have the same one in one line."""
    trials: dict[str, list[str]] = {}
    for note in notes:
        trial, _, text = note.partition(": ")
        trials.setdefault(text, []).append(trial.removeprefix("trial "))
    return [
        f"trial{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}: {text}"
        for text, numbers in trials.items()
    ]
