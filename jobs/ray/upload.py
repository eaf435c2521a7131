"""What goes to a cluster: karat's own packages and the space file, no data and no studies."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs import Submission
from karat.errors import InputError

# The packages, and what says which versions they need (of a checkout, or as installed). Nothing else:
# an installed karat lies among all that its environment holds.
SENT = ("jobs", "karat", "pyproject.toml", "karat_attention-*.dist-info")
SPACE_FOLDER = "submitted"  # where the space file goes
_SHOWN = 5


def files_of(code: Path, without: Sequence[Path] = ()) -> list[Path]:
    """The files that go, relative to the folder `code`, in order.

    Left out: hidden ones, bytecode, links, and `without`.
    """
    left_out = {each.absolute() for each in without}
    found: list[Path] = []
    for path in (path for name in SENT for path in code.glob(name)):
        found += _walk(path, left_out) if path.is_dir() else [path]
    return sorted(path.relative_to(code) for path in found)


def _walk(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if path in left_out or entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_file():
            yield path
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _walk(path, left_out)


def check_size(code: Path, files: Sequence[Path], largest_mb: float) -> None:
    """Refuse what is too large, before a byte of it is sent.

    Raises:
        InputError: with the folders that take most of it.
    """
    sizes = {path: (code / path).stat().st_size for path in files}
    total = sum(sizes.values())
    if total <= largest_mb * 1e6:
        return
    folders: Counter[str] = Counter()
    for path, size in sizes.items():
        folders[str(Path(*path.parts[:-1][:2]))] += size
    largest = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in folders.most_common(_SHOWN))
    raise InputError(
        f"{code}: {total / 1e6:.1f} MB would be sent to the cluster, at most {largest_mb:g} "
        f"(cluster.ray.largest_upload_mb). The largest folders: {largest}. Move what is not code "
        f"out of these, which are sent: {', '.join(SENT)}"
    )


def space_inside(submission: Submission[Any]) -> Path:
    """Where the space file lies in what is sent."""
    return Path(SPACE_FOLDER) / submission.space_file.name


def stage(submission: Submission[Any], files: Sequence[Path], folder: Path) -> None:
    """Copy the files and the space file into an empty folder, from which they are sent."""
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(submission.code / path, folder / path)
    space = folder / space_inside(submission)
    space.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(submission.space_file, space)
