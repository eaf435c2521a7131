"""The folder of a study as a whole."""

import time
from pathlib import Path

from rich.console import Console

from karat.journal.journal import FILE_NAME, Journal


def put_aside(folder: Path, console: Console) -> None:
    """Rename an older study of this name, so that nothing of it is lost."""
    if (folder / FILE_NAME).exists():
        with Journal.open(folder):  # refuses to move a study that is running
            aside = folder.with_name(f"{folder.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            folder.rename(aside)
        console.print(
            f"the older study is now {aside}", markup=False, highlight=False, soft_wrap=True
        )
