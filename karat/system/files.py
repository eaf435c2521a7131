"""Files are written whole or not at all, and never through a link."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from karat.errors import InputError
from karat.system import fault_injection


def replace_file(path: Path, data: bytes, *, fault: str = "") -> None:
    """Write a file under another name, wait until it is on disk, and rename it to its own.

    Nobody ever sees half of it, also not after a power cut. The other name begins with `.NAME.`;
    a kill leaves it behind.

    Args:
        path: the file's; its folder exists.
        data: its new content.
        fault: where a test may put a fault (`karat.system.fault_injection`): FAULT.before and
            FAULT.after the rename.

    Raises:
        OSError: it could not be written; the older file, if there is one, is untouched.
    """
    # A name that nobody else has: several processes may write one file at a time.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if fault:
            fault_injection.at(f"{fault}.before")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if fault:
        fault_injection.at(f"{fault}.after")
    _sync_folder(path.parent)


def refuse_symlinks(paths: Iterable[Path], trees: Iterable[Path], but: str) -> None:
    """Refuse files and folders of which one is a link, before anything is written.

    Args:
        paths: there or not; what lies below them is not looked at.
        trees: with all that lies below them.
        but: what may be a link, for the message.

    Raises:
        InputError: which it is, and what to do.
    """
    known = list(trees)
    for path in (*paths, *known, *(each for tree in known for each in _below(tree))):
        if path.is_symlink():
            raise InputError(
                f"{path}: is a link to {os.readlink(path)}, and nothing is written through a link. "
                f"Remove it, or put what it leads to in its place; only {but} may be a link"
            )


def _sync_folder(folder: Path) -> None:
    """Wait until a rename in a folder is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):  # goes into no link
        yield from (Path(parent, name) for name in (*folders, *files))
