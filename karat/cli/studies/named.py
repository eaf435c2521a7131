"""Finds the study that the command line names, by its name or by its folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from karat.errors import InputError, nearest
from karat.journal.layout import JOURNAL

if TYPE_CHECKING:
    from karat.journal.state import StudyState

STORAGE = Path("studies")
Activity = Literal["running", "killed", "unknown", "interrupted", "completed", "failed"]


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Add `--storage`, the folder in which studies are looked up by name."""
    parser.add_argument(
        "--storage", type=Path, default=STORAGE, help=f"folder of all studies ({STORAGE}/)"
    )


def add_study(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """Add the positional argument `study`, and `--storage`."""
    parser.add_argument("study", nargs=nargs, help="the study: its name, or its folder")
    add_storage(parser)


def study_names(storage: Path) -> list[str]:
    """Names of the studies in a storage folder, sorted; none if there is no such folder."""
    return sorted(path.parent.name for path in storage.glob(f"*/{JOURNAL}"))


def study_folder(study: str, storage: Path = STORAGE) -> Path:
    """The folder of a study.

    Args:
        study: its folder, or its name in `storage`.
        storage: folder of all studies.

    Raises:
        InputError: there is no such study; names the nearest.
    """
    for folder in (Path(study), storage / study):
        if study and (folder / JOURNAL).is_file():
            return folder
    if study and Path(study).is_dir():
        raise InputError(f"{study}: not a study (there is no {JOURNAL} in it)")
    known = study_names(storage)
    if not known:
        raise InputError(
            f"{study}: no such study; {storage} holds none. --storage names the folder of all studies"
        )
    raise InputError(f"{study or '(empty)'}: no such study in {storage}. {nearest(study, known)}")


def study_of(options: argparse.Namespace) -> Path:
    """The folder of the study that the command line names.

    Raises:
        InputError: there is no such study.
    """
    return study_folder(options.study, options.storage)


def state_of(folder: Path) -> "StudyState":
    """The state of a study, from the journal in its folder.

    Raises:
        InputError: the folder has no journal.
        JournalError: the journal cannot be read.
    """
    from karat.journal.journal import read_events
    from karat.journal.state import StudyState

    path = folder / JOURNAL
    if not path.is_file():
        raise InputError(f"{folder}: not a study (there is no {JOURNAL} in it)")
    return StudyState.of(read_events(path))


def activity_of(folder: Path, status: str) -> Activity:
    """Whether a study really runs, since its journal cannot know that its driver was killed.

    Args:
        folder: of the study.
        status: as the journal has it.

    Returns:
        The status; `killed` if it should run, and no process does; `unknown` if it should run on another
        machine whose file system shares no locks with this one.
    """
    from karat.journal.lock import is_locked, owner_elsewhere

    if status in ("completed", "failed"):
        return "completed" if status == "completed" else "failed"
    if is_locked(folder):
        return "running"
    if status == "interrupted":
        return "interrupted"
    return "killed" if owner_elsewhere(folder) is None else "unknown"
