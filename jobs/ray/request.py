"""What is asked of Ray's Jobs API: pure functions of a submission."""

import shlex
from pathlib import Path
from typing import Any

from jobs import Submission
from jobs.command_line import launch_words
from jobs.ray.settings import RaySettings
from jobs.ray.upload import files_of, space_inside
from karat.errors import InputError

# The driver writes checkpoints within 20 s, and then brings MLflow up to date, within 120.
STOP_WAIT_S = 180


def entrypoint(submission: Submission[RaySettings]) -> str:
    """The job's command."""
    space, storage = space_inside(submission), storage_of(submission)
    words = launch_words(submission.program, submission.arguments, space, storage)
    return shlex.join(words)


def storage_of(submission: Submission[RaySettings]) -> Path:
    """The folder of all studies, as the nodes see it."""
    named = submission.settings.storage
    return Path(named) if named is not None else submission.storage.absolute()


def metadata(submission: Submission[RaySettings]) -> dict[str, str]:
    """What the job is labelled with."""
    return {"karat_study": submission.space.name}


def variables(submission: Submission[RaySettings]) -> dict[str, str]:
    """The job's environment, beside that of the cluster's head."""
    return {**submission.environment, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}


def sent_files(submission: Submission[RaySettings]) -> list[Path]:
    """The files of the code that are sent, relative to its folder.

    Raises:
        InputError: `data.root` is not absolute.
    """
    return files_of(submission.code, [submission.storage, *map(Path, data_of(submission))])


def summary(files: list[Path]) -> dict[str, int]:
    """How many files of each folder at the top are sent."""
    counts: dict[str, int] = {}
    for path in files:
        top = path.parts[0] if len(path.parts) > 1 else "."
        counts[top] = counts.get(top, 0) + 1
    return counts


def data_of(submission: Submission[Any]) -> list[str]:
    """The folders of the user's data that a trial reads.

    Raises:
        InputError: one is relative to this machine's working directory, which no node has.
    """
    root = submission.space.data.get("root")
    if root is None:
        return []
    if not (str(root).startswith("~") or Path(root).is_absolute()):
        raise InputError(f"data.root = {root!r}: must be absolute, as the cluster's nodes see it")
    return [str(root)]
