"""A temporary folder for a launch; folders that killed launches left behind are deleted."""

import dataclasses
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from karat.system.process.identity import ProcessIdentity

PREFIX = "karat-"
_OWNER = "owner"
_ROOM_FOR_SOCKETS = 28


def make_tempdir() -> Path:
    """A new folder that only this user can access, in the system's folder for temporary files."""
    parent = Path(_parent())
    for left in _left_behind(parent):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    (folder / _OWNER).write_text(json.dumps(dataclasses.asdict(ProcessIdentity.own())))
    return folder


def _parent() -> str:
    """The folder for temporary files, or /tmp if its path is too long for Ray's sockets.

    The path of a Unix socket has at most 107 bytes; the names that Ray and karat append have 79.
    """
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= _ROOM_FOR_SOCKETS else "/tmp"


def _left_behind(parent: Path) -> Iterator[Path]:
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            found = folder.lstat()
            owner = ProcessIdentity.read(json.loads((folder / _OWNER).read_text()))
        except (OSError, ValueError):  # another user's, or just being created
            continue
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if ours and owner is not None and owner.is_here and not owner.is_alive:
            yield folder
