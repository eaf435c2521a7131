"""The decoded images of a data set in one file, which every process of the node maps into its memory.

A file holds the pixels of the three splits one after the other, uint8, and nothing else; `NAME.json` beside it says
what it holds: key, shapes, labels, size and sha256. It is written last, so that a file without one is not complete.
Both are written under a temporary name, flushed and renamed, by one process at a time (`NAME.lock`).

A file is trusted if its manifest is of the same key and the file has the size, the inode and the time of change that
the manifest says. Otherwise its sha256 is computed; if that differs too, the file is made anew.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from karat.system.files import open_regular, replace_file

FORMAT = 1
PARTS = ("train", "val", "test")
_SPARE = 1.05  # of the free disk space that a file needs
Batch = tuple[str, Tensor, Sequence[int]]
log = logging.getLogger(__name__)


class NotStorableError(Exception):
    """Decoded images cannot be kept: says why. They are decoded in each epoch instead."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file holds.

    Args:
        key: names data, settings and format: a file of another key is another file.
        shape: of one image: channels, height, width.
        labels: of each split, by name, in order.
    """

    key: str
    shape: tuple[int, int, int]
    labels: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Bytes of all pixels."""
        channels, height, width = self.shape
        return sum(map(len, self.labels.values())) * channels * height * width


@dataclass(frozen=True, kw_only=True)
class MemoryMap:
    """An open file: for each split pixels, uint8 (n, channels, height, width), and labels, int64 (n,)."""

    path: Path
    size: int
    splits: Mapping[str, tuple[Tensor, Tensor]]


def path_of(folder: Path, key: str) -> Path:
    """The file with the images of a key."""
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.u8"


def open_map(folder: Path, key: str) -> MemoryMap | None:
    """The images of a key, or None if there is no whole file of it."""
    path = path_of(folder, key)
    try:
        contents, sha256, mark = _manifest(path, key)
        if path.stat().st_size != contents.size:
            raise ValueError(f"has not {contents.size} bytes")
        if _mark(path) != mark and _sha256(path) != sha256:
            raise ValueError("its sha256 is not the one in its manifest")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s; the images are decoded again", path, error)
        return None
    return _mapped(path, contents)


def write_map(
    folder: Path, key: str, shape: tuple[int, int, int], count: int, batches: Iterable[Batch]
) -> MemoryMap:
    """Write the images of all splits; returns the open file.

    Args:
        folder: of these files.
        key: names data, settings and format.
        shape: of one image: channels, height, width.
        count: number of images of all splits.
        batches: name of the split, pixels, uint8 (any number, channels, height, width), and their labels; the
            splits in the order of `PARTS`.

    Raises:
        NotStorableError: the disk is full, or the folder cannot be written to.
    """
    path, needed = path_of(folder, key), count * math.prod(shape)
    try:
        free = shutil.disk_usage(folder).free
        if free < _SPARE * needed:
            raise NotStorableError(
                f"{folder}: needs {needed / 1e9:.2f} GB, has {free / 1e9:.2f} GB left"
            )
        path.with_suffix(".json").unlink(
            missing_ok=True
        )  # first: it does not describe the new file
        sha256, labels = _write(path, batches)
        contents = Contents(key=key, shape=shape, labels=labels)
        mark = {"bytes": contents.size, "sha256": sha256, "mark": _mark(path)}
        described = {"format": FORMAT, **asdict(contents), **mark}
        replace_file(path.with_suffix(".json"), json.dumps(described).encode())
    except OSError as error:
        raise NotStorableError(f"{folder}: {error.strerror or error}") from error
    return _mapped(path, contents)


@contextlib.contextmanager
def locked(folder: Path, key: str) -> Iterator[None]:
    """Only one process of the node is within this context for a key; others wait.

    Raises:
        NotStorableError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = path_of(folder, key).with_suffix(".lock")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotStorableError(f"{folder}: {error.strerror or error}") from error
    try:
        # Without locks in the file system two processes decode the same, and the later rename stays.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, batches: Iterable[Batch]) -> tuple[str, dict[str, tuple[int, ...]]]:
    """Write the pixels; returns their sha256, and the labels of each split."""
    for old in path.parent.glob(f".{path.name}.*"):  # of a process that was killed
        old.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    digest = hashlib.sha256()
    labels: dict[str, list[int]] = {part: [] for part in PARTS}
    try:
        with os.fdopen(handle, "wb") as file:
            for part, images, of_images in batches:
                data = images.contiguous().numpy().tobytes()
                digest.update(data)
                file.write(data)
                labels[part] += of_images
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return digest.hexdigest(), {part: tuple(each) for part, each in labels.items()}


def _manifest(path: Path, key: str) -> tuple[Contents, str, list[int]]:
    """Contents, sha256 and mark that the manifest of a file says.

    Raises:
        FileNotFoundError: there is none.
        ValueError, KeyError, TypeError, OSError: it is none, or one of other images.
    """
    with open_regular(path.with_suffix(".json")) as file:
        found: dict[str, Any] = json.load(file)
    if found["key"] != key or found["format"] != FORMAT:
        raise ValueError("holds other images")
    channels, height, width = map(int, found["shape"])
    labels = {part: tuple(map(int, found["labels"][part])) for part in PARTS}
    contents = Contents(key=key, shape=(channels, height, width), labels=labels)
    return contents, str(found["sha256"]), list(found["mark"])


def _mapped(path: Path, contents: Contents) -> MemoryMap:
    # Private to this process where it writes, which nobody does: pages are those of the page cache.
    pixels = torch.from_file(str(path), shared=False, size=contents.size, dtype=torch.uint8)
    splits, begin = {}, 0
    for part in PARTS:
        labels = torch.tensor(contents.labels[part])
        end = begin + len(labels) * contents.size // sum(map(len, contents.labels.values()))
        splits[part] = (pixels[begin:end].view(len(labels), *contents.shape), labels)
        begin = end
    return MemoryMap(path=path, size=contents.size, splits=splits)


def _mark(path: Path) -> list[int]:
    """What changes when a file is written to or replaced."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
