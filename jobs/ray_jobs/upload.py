"""What of karat's folder goes to a cluster: the code and the question, no data and no studies."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobs import Submission
from karat.errors import InputError

LEFT_OUT = ("benchmarks", "data", "docs", "mlruns", "node_modules", "studies", "tests")
SPACE_FOLDER = "submitted"  # where a space file from elsewhere goes
_SHOWN = 5


def files_of(repository: Path, without: Sequence[Path] = ()) -> list[Path]:
    """The files that go, relative to the folder, in order.

    Left out: `LEFT_OUT`, hidden ones, virtual environments, bytecode, links, and `without`.
    """
    left_out = {repository / name for name in LEFT_OUT} | {each.absolute() for each in without}
    return sorted(path.relative_to(repository) for path in _walk(repository, left_out))


def _walk(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if path in left_out or entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_file():
            yield path
        elif entry.is_dir() and entry.name != "__pycache__" and not (path / "pyvenv.cfg").exists():
            yield from _walk(path, left_out)


def check_size(repository: Path, files: Sequence[Path], largest_mb: float) -> None:
    """Refuse what is too large, before a byte of it is sent.

    Raises:
        InputError: with the folders that take most of it.
    """
    sizes = {path: (repository / path).stat().st_size for path in files}
    total = sum(sizes.values())
    if total <= largest_mb * 1e6:
        return
    folders: Counter[str] = Counter()
    for path, size in sizes.items():
        folders[str(Path(*path.parts[:-1][:2]))] += size
    largest = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in folders.most_common(_SHOWN))
    raise InputError(
        f"{repository}: {total / 1e6:.1f} MB would be sent to the cluster, at most {largest_mb:g} "
        f"(cluster.ray.largest_upload_mb). The largest folders: {largest}. Move data elsewhere, "
        f"or into one of these, which are left out: {', '.join(LEFT_OUT)}"
    )


def space_inside(submission: Submission) -> Path:
    """Where the space file lies in what is sent."""
    try:
        return submission.space_file.absolute().relative_to(submission.repository.absolute())
    except ValueError:
        return Path(SPACE_FOLDER) / submission.space_file.name


def stage(submission: Submission, files: Sequence[Path], folder: Path) -> None:
    """Copy the files and the space file into an empty folder, from which they are sent."""
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(submission.repository / path, folder / path)
    space = folder / space_inside(submission)
    space.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(submission.space_file, space)
