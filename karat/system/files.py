"""Atomic replacement of files, reading of regular ones only, and refusal of symbolic links."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from karat.errors import InputError
from karat.system import fault_injection


def replace_file(path: Path, data: bytes, *, fault: str = "") -> None:
    """Write a temporary file, flush it to disk (fsync), and rename it to `path`.

    No reader ever sees a part of the file, even after a power failure. The temporary name begins
    with `.NAME.`; a process that is killed leaves it behind.

    Args:
        path: the file; its folder exists.
        data: the new content.
        fault: place for `karat.system.fault_injection`: FAULT.before and FAULT.after the rename.

    Raises:
        OSError: the file could not be written; an older file of that name is unchanged.
    """
    # A unique name, since several processes may replace the same file at the same time.
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


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    A pipe in its place would block for ever, and a device never end.

    Raises:
        OSError: the file cannot be opened, or is none.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", closefd=True)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "a pipe or a device, not a file", str(path))
    return file


def refuse_symlinks(paths: Iterable[Path], trees: Iterable[Path], but: str) -> None:
    """Refuse symbolic links, before anything is written.

    Args:
        paths: files and folders, which may be missing; the content of folders is not checked.
        trees: folders that are checked with all their content; they may be missing.
        but: what may be a link, for the message.

    Raises:
        InputError: the link, and what to do.
    """
    known = list(trees)
    for path in (*paths, *known, *(each for tree in known for each in _below(tree))):
        if path.is_symlink():
            raise InputError(
                f"{path}: is a symbolic link to {os.readlink(path)}, and karat writes through no "
                f"link. Remove it, or replace it by its target; only {but} may be a link"
            )


def _sync_folder(folder: Path) -> None:
    """Flush a rename in a folder to disk; the fsync of the file does not include its name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(
        folder
    ):  # lists links to folders, but does not enter them
        yield from (Path(parent, name) for name in (*folders, *files))
