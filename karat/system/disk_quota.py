"""The disk space that a study may use: `resources.disk_gb`."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GB = 10**9


@dataclass(frozen=True, slots=True)
class DiskBudget:
    """The limit on all files in a study's folder, checked before a checkpoint is written.

    Args:
        folder: the study's folder.
        gb: the limit, in units of 10^9 bytes.
    """

    folder: Path
    gb: float

    def used(self) -> int:
        """Bytes in the study's folder at the moment."""
        return sum(_sizes(self.folder))

    def check(self, more: int) -> None:
        """Refuse to write `more` bytes if they exceed the limit.

        Raises:
            OSError: EDQUOT, the error of a disk quota; the message names the setting.
        """
        used = self.used()
        if used + more > self.gb * GB:
            raise OSError(
                errno.EDQUOT,
                f"resources.disk_gb = {self.gb:g} is used up: {self.folder} has {used / GB:.3g} GB, "
                f"and this needs {more / GB:.3g} more",
            )


def _sizes(folder: Path) -> Iterator[int]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:  # another worker has just deleted its checkpoints
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
