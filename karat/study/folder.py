"""Checks and renames of a study's folder before the study writes to it."""

import time
from pathlib import Path

from rich.console import Console

from karat.journal.journal import Journal
from karat.journal.layout import JOURNAL, beside, mlflow_files
from karat.system import files


def refuse_symlinks(study: Path) -> None:
    """Refuse symbolic links in a study's folder and in MLflow's files beside it.

    A link there could let a study write outside the storage folder. The storage folder itself may
    be a link, since the user chose it.

    Args:
        study: STORAGE/NAME; may not exist yet.

    Raises:
        InputError: names the link and what to do about it.
    """
    folder = study.absolute()
    trees = (folder, mlflow_files(folder))
    files.refuse_symlinks(beside(folder), trees, but="the storage folder itself (--storage)")


def put_aside(folder: Path, console: Console) -> None:
    """Rename the folder of an older study, so that a new one can use the name; nothing is deleted.

    Raises:
        StudyLockedError: the older study is running.
    """
    if (folder / JOURNAL).exists():
        with Journal.open(folder):  # refuses to move a study that is running
            aside = folder.with_name(f"{folder.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            folder.rename(aside)
        console.print(f"the older study is now {aside}", soft_wrap=True)
