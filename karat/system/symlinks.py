"""Nothing is written through a link: below the storage folder all is what it seems to be."""

import os
from collections.abc import Iterator
from pathlib import Path

from karat.errors import InputError


def refuse_symlinks(study_folder: Path) -> None:
    """Refuse a study of which a part is a link, before anything is written.

    The storage folder itself may be one; that is the user's own choice.

    Args:
        study_folder: STORAGE/NAME, there or not; MLflow's files beside it are looked at too.

    Raises:
        InputError: which part, and what to do.
    """
    folder = study_folder.absolute()
    views = folder.parent / "mlruns"
    ours = (folder, *folder.parent.glob("mlflow.db*"), views, views / folder.name)
    for path in (*ours, *_below(folder), *_below(views / folder.name)):
        if path.is_symlink():
            raise InputError(
                f"{path}: is a link to {os.readlink(path)}, and nothing is written through a link. "
                "Remove it, or put what it leads to in its place; only the storage folder "
                "itself (--storage) may be a link"
            )


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):  # goes into no link
        yield from (Path(parent, name) for name in (*folders, *files))
