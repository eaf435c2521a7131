"""Atomic checkpoints: the file is written under a temporary name, synced and renamed, then its manifest.

A checkpoint NAME is two files: `NAME.pt` (plain tensors and Python values) and `NAME.json`, the
manifest with name, owner, size and sha256 of the first. The manifest is written last: a file
without one was not written completely, and counts as missing. The owner is the fingerprint of the
trial (`Trial.fingerprint`), so that a checkpoint of another trial is noticed.

| series | content | kept |
|---|---|---|
| `epoch` | the whole training state after an epoch | the last three |
| `best` | weights with the best validation metric, of a trial that is not tested | the last three, one when the trial is complete |
| `tested` | the weights that the test split was evaluated with, and their epoch | always |
| `snapshot` | the evaluated weights after an epoch, and the epoch (`training.keep_checkpoints`) | until the disk budget runs low |
| `within` | the whole training state within an epoch, when the trial was paused | until the end of the epoch |

A training state holds the best weights too if they are the ones to be tested.

torch is imported where tensors are written and read: the view and the audit ask for names and sizes alone.

Why three: if a process is killed before it reports its newest checkpoint, the trial does not resume
from that one, and two are left.
"""

import errno
import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from karat.errors import CheckpointError, shorten
from karat.system import fault_injection
from karat.system.disk_quota import DiskBudget
from karat.system.files import open_regular, replace_file

MAX_MANIFEST = 4096  # bytes; a manifest has about 200
KEPT = 2  # checkpoints of a series beside the newest
SERIES = ("epoch", "best", "tested", "within", "snapshot")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
T = TypeVar("T")
log = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path,
    name: str,
    content: Mapping[str, Any],
    owner: str = "",
    budget: DiskBudget | None = None,
) -> Path:
    """Write a checkpoint atomically; replaces one of the same name.

    Args:
        folder: folder of the trial; created if it is missing.
        name: name without suffix.
        content: plain tensors and Python values, as `torch.load(weights_only=True)` reads them.
        owner: fingerprint of the trial.
        budget: disk budget of the study.

    Returns:
        The path of the `.pt` file.

    Raises:
        OSError: the checkpoint could not be written, or exceeds the budget.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    data = buffer.getvalue()
    if budget is not None:
        budget.check(len(data))
    path, manifest = folder / f"{name}.pt", folder / f"{name}.json"
    manifest.unlink(missing_ok=True)  # first: it does not describe the new file
    fault_injection.at("checkpoint.write.before")
    replace_file(path, data, fault="checkpoint.rename")
    described = {
        "name": name,
        "owner": owner,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    fault_injection.at("checkpoint.manifest.before")
    replace_file(manifest, json.dumps(described).encode(), fault="checkpoint.rename")
    fault_injection.at("checkpoint.manifest.after")
    return path


def load_checkpoint(path: Path, owner: str = "") -> dict[str, Any]:
    """The content of a checkpoint, after checking it against its manifest.

    Args:
        path: the `.pt` file.
        owner: required fingerprint of the trial; empty for any.

    Raises:
        CheckpointError: a file is missing, truncated, modified or of another trial, or contains
            more than plain data.
    """
    import torch

    data = _verified(path, owner)
    try:
        content = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # a hostile file can make torch raise anything
        # Without torch's message, which recommends weights_only=False, that is, to run the code.
        raise CheckpointError(
            f"{path}: contains something else than tensors and plain values; none of its code was "
            f"run ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: contains a {type(content).__name__}, not a checkpoint")
    return content


def _verified(path: Path, owner: str) -> bytes:
    try:
        manifest = _read_manifest(path.with_suffix(".json"))
        with open_regular(path) as file:
            data = file.read()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a complete checkpoint ({error})") from error
    if hashlib.sha256(data).hexdigest() != manifest.get("sha256"):
        raise CheckpointError(f"{path}: damaged (its sha256 differs from the manifest)")
    if manifest.get("name", path.stem) != path.stem:
        raise CheckpointError(f"{path}: is another checkpoint, {shorten(manifest['name'])}")
    # A manifest without an owner, of an older study, fits every trial.
    if owner and (manifest.get("owner") or owner) != owner:
        raise CheckpointError(f"{path}: is a checkpoint of another trial")
    return data


def _read_manifest(path: Path) -> dict[str, Any]:
    with open_regular(path) as file:
        text = file.read(MAX_MANIFEST + 1)
    if len(text) > MAX_MANIFEST:
        raise ValueError(f"a manifest of more than {MAX_MANIFEST} bytes")
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("a manifest nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("its manifest is not a mapping")
    return found


def save_series(
    folder: Path,
    series: str,
    epoch: int,
    content: Mapping[str, Any],
    owner: str = "",
    budget: DiskBudget | None = None,
) -> Path:
    """Write the checkpoint `SERIES-EPOCH` and keep the two before it; where it does not fit, without snapshots."""
    keep_newest(folder, **{series: KEPT})  # before the write, which may need the space
    name = f"{series}-{epoch:05d}"
    try:
        return save_checkpoint(folder, name, content, owner, budget)
    except OSError as error:
        if error.errno not in DISK_FULL or not drop_snapshots(folder):
            raise
        log.warning("%s: its snapshots were deleted to make room for %s", folder, name)
    return save_checkpoint(folder, name, content, owner, budget)


def save_snapshot(
    folder: Path,
    epoch: int,
    weights: Mapping[str, Any],
    owner: str = "",
    budget: DiskBudget | None = None,
) -> None:
    """Write the weights after an epoch beside those of others; where they do not fit, a warning is all.

    Raises:
        OSError: they could not be written for another reason than a full disk or budget.
    """
    content = {"model": weights, "epoch": epoch}
    try:
        save_checkpoint(folder, f"snapshot-{epoch:05d}", content, owner, budget)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        log.warning("%s: the weights of epoch %d are not kept (%s)", folder, epoch, error.strerror)


def snapshots(folder: Path) -> list[Path]:
    """The weights of epochs that a confirmation run kept (`training.keep_checkpoints`), not verified, the first first."""
    return newest_first(folder, "snapshot")[::-1]


def drop_snapshots(folder: Path) -> bool:
    """Delete the weights of epochs that a run kept; returns whether there were any."""
    found = snapshots(folder)
    keep_newest(folder, snapshot=0)
    return bool(found)


def keep_newest(folder: Path, **counts: int) -> None:
    """Delete all but the newest checkpoints: series to the number to keep."""
    for series, count in counts.items():
        for old in newest_first(folder, series)[count:]:
            _drop(old)


def drop_half_written(folder: Path) -> None:
    """Delete temporary files that a killed process left behind.

    Only for a trial that has ended or is about to resume: a worker that lost its connection may
    still write while the next segment of the trial runs, and neither must delete the other's files.
    """
    for series in SERIES:
        for path in folder.glob(f".{series}-*"):
            path.unlink(missing_ok=True)


def drop_after(folder: Path, epoch: int) -> None:
    """Delete the checkpoints of later epochs, which a trial that resumes at `epoch` will repeat."""
    for series in SERIES:
        for path in newest_first(folder, series):
            if epoch_of(path) > epoch:
                _drop(path)


def _drop(path: Path) -> None:
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def newest_first(folder: Path, series: str) -> list[Path]:
    """The checkpoints of a series, not verified, the latest epoch first."""
    return sorted(folder.glob(f"{series}-*.pt"), reverse=True)


def kept_weights(folder: Path) -> Path | None:
    """The weights that a completed trial keeps, not verified: the tested ones, else its best ones."""
    return next(iter([*newest_first(folder, "tested"), *newest_first(folder, "best")]), None)


def epoch_of(path: Path) -> int:
    """Epochs done when the checkpoint was written."""
    return int(path.stem.rpartition("-")[2])


def last_state(folder: Path, epoch: int, owner: str = "") -> tuple[int, list[str]]:
    """Epochs done at the last good training state, and why each later checkpoint was skipped.

    Args:
        folder: folder of the trial.
        epoch: last epoch that the trial has reported.
        owner: required fingerprint of the trial; empty for any.
    """
    passed_over: list[str] = []
    found = last_good(folder, "epoch", epoch, owner, passed_over)
    start = 0 if found is None else epoch_of(found)
    for each in range(epoch, max(start, epoch - KEPT), -1):
        if not (path := folder / f"epoch-{each:05d}.pt").exists():
            passed_over.append(f"{path}: is missing")
    return start, passed_over


def last_good(
    folder: Path,
    series: str,
    at_most: int,
    owner: str = "",
    passed_over: list[str] | None = None,
) -> Path | None:
    """The newest checkpoint of a series that passes verification, or None.

    Args:
        folder: folder of the trial.
        series: one of `SERIES`.
        at_most: checkpoints of later epochs are ignored.
        owner: required fingerprint of the trial; empty for any.
        passed_over: list to which the defect of each newer checkpoint is appended.
    """
    found = _first_good(folder, series, at_most, lambda path: _verified(path, owner), passed_over)
    return None if found is None else found[0]


def load_last_good(
    folder: Path, series: str, at_most: int, owner: str = ""
) -> tuple[int, dict[str, Any]] | None:
    """As `last_good`, but loaded: (epochs done, content), or None."""
    found = _first_good(folder, series, at_most, lambda path: load_checkpoint(path, owner))
    return None if found is None else (epoch_of(found[0]), found[1])


def _first_good(
    folder: Path,
    series: str,
    at_most: int,
    read: Callable[[Path], T],
    passed_over: list[str] | None = None,
) -> tuple[Path, T] | None:
    for path in newest_first(folder, series):
        if epoch_of(path) > at_most:
            continue
        try:
            return path, read(path)
        except CheckpointError as error:
            log.warning("%s; falling back to the previous one", error)
            if passed_over is not None:
                passed_over.append(str(error))
    return None
