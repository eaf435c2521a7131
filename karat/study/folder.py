"""The folder of a study, before anything is written to it."""

import time
from pathlib import Path

from rich.console import Console

from karat.journal.journal import Journal
from karat.journal.layout import JOURNAL, beside, mlflow_files
from karat.system import files


def refuse_symlinks(study: Path) -> None:
    """Refuse a study of which a part is a link: below the storage folder all is what it seems to be.

    The storage folder itself may be one; that is the user's own choice.

    Args:
        study: STORAGE/NAME, there or not; MLflow's files beside it are looked at too.

    Raises:
        InputError: which part, and what to do.
    """
    folder = study.absolute()
    trees = (folder, mlflow_files(folder))
    files.refuse_symlinks(beside(folder), trees, but="the storage folder itself (--storage)")


def put_aside(folder: Path, console: Console) -> None:
    """Rename an older study of this name, so that nothing of it is lost.

    Raises:
        StudyLockedError: it is being run.
    """
    if (folder / JOURNAL).exists():
        with Journal.open(folder):  # refuses to move a study that is running
            aside = folder.with_name(f"{folder.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            folder.rename(aside)
        console.print(
            f"the older study is now {aside}", markup=False, highlight=False, soft_wrap=True
        )
