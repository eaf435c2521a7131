"""Downloads that happen once per node, and are whole or not there."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_LOCK, _TEMPORARY = ".karat-download.lock", ".karat-download-"


def fetch_once(root: Path, is_missing: Callable[[], bool], fetch: Callable[[Path], None]) -> None:
    """Call `fetch` with a temporary folder, and move what it has written into `root`.

    One process of a node does it at a time; one that has waited finds that nothing is missing any more. What a
    download that broke off has left is removed, here or by the next one.

    Args:
        root: created if there is none.
        is_missing: whether something is to be downloaded.
        fetch: downloads, unpacks and verifies; raises if a file is not what it should be.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / _LOCK):
        for old in root.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(old)
        if not is_missing():
            return
        folder = Path(tempfile.mkdtemp(dir=root, prefix=_TEMPORARY))
        try:
            fetch(folder)
            _move(folder, root)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    """Rename what is in a folder into another; a folder that is there already is filled."""
    for entry in sorted(source.iterdir()):
        if entry.name.endswith((".tar.gz", ".tgz")):
            continue  # unpacked beside it
        there = target / entry.name
        if entry.is_dir() and there.is_dir():
            _move(entry, there)
        else:
            entry.replace(there)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, also by a crash
        yield
