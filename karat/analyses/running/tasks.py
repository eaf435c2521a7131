"""One analysis of one trial: whether its result is there already, and the work if it is not."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from karat.analyses.kinds import ANALYSES, Analysis
from karat.analyses.running.stored import load, save
from karat.analyses.running.subjects import fingerprint_of, subject_of
from karat.analyses.subject import Subject
from karat.errors import CheckpointError, InputError
from karat.journal.journal import read_events
from karat.journal.layout import ANALYSES as FOLDER
from karat.journal.layout import JOURNAL, trial_folder
from karat.journal.state import StudyState

IMAGES = 256  # validation images; some analyses take fewer


@dataclass(frozen=True, kw_only=True)
class Task:
    """An analysis of a trial.

    Args:
        folder: of the study.
        trial: its number.
        analysis: a name in `ANALYSES`.
        images: at most this many validation images.
        without: places in the validation split of images that cannot be read.
        key: what the result depends on, hashed: the weights of the trial, version of the analysis, images.
    """

    folder: Path
    trial: int
    analysis: str
    images: int
    without: tuple[int, ...] = ()
    key: str

    @property
    def path(self) -> Path:
        """Where the result is kept."""
        return self.folder / FOLDER / self.analysis / f"trial-{self.trial:04d}-{self.key}.npz"

    @property
    def is_done(self) -> bool:
        """Whether a result is there; it may be damaged."""
        return self.path.is_file()

    def result(self) -> Analysis:
        """The result that is there.

        Raises:
            AnalysisError: it is missing or damaged.
        """
        return load(ANALYSES[self.analysis], self.path)


def task_of(
    folder: Path, trial: int, analysis: str, images: int = IMAGES, without: tuple[int, ...] = ()
) -> Task:
    """The analysis of a trial.

    Raises:
        AnalysisError: the trial has no weights.
        SettingError: there is no such analysis.
    """
    weights = fingerprint_of(trial_folder(folder, trial))
    parts = [analysis, ANALYSES[analysis].version, images, weights, *([without] if without else [])]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    return Task(
        folder=folder, trial=trial, analysis=analysis, images=images, without=without, key=key
    )


def work(task: Task) -> str:
    """Make an analysis and keep its result; runs in any process, with one CPU thread.

    Returns:
        Why the trial does not allow it; empty if the result is there now.
    """
    import torch

    torch.set_num_threads(1)
    try:
        subject = _subject(task.folder, task.trial, task.images, task.without)
        result = ANALYSES[task.analysis].measure(subject)
    except (CheckpointError, InputError) as error:
        return " ".join(str(error).split())
    for older in task.path.parent.glob(f"trial-{task.trial:04d}-*.npz"):
        older.unlink(missing_ok=True)
    save(result, task.path)
    return ""


@functools.lru_cache(maxsize=1)  # a process makes several analyses of one trial after each other
def _subject(folder: Path, number: int, images: int, without: tuple[int, ...]) -> Subject:
    state = StudyState.of(read_events(folder / JOURNAL))
    return subject_of(folder, state, state.trials[number], images, without)
