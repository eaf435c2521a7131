"""Checkpoints that are whole or not there: written beside, synced, renamed, vouched for last.

A checkpoint NAME is two files: `NAME.pt` (plain tensors and Python values) and `NAME.json`, the
manifest with name, owner, size and sha256 of the first. The manifest is written last, so a
checkpoint without one never was. The owner says whose training it is (`Trial.fingerprint`), so
that files which were exchanged between trials are not taken for each other's.

| series | content | kept |
|---|---|---|
| `epoch` | the whole training state after an epoch | the last three |
| `best` | weights at the best validation | the last three, one when the trial is complete |
| `within` | the whole training state in the middle of an epoch, when a study was told to stop | until the epoch's end |

Of three the newest may not have been reported when its process is killed, and is then not gone on
from; so there are two to go on from even then.
"""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from karat.errors import CheckpointError, shorten
from karat.system import fault_injection
from karat.system.disk_quota import DiskBudget
from karat.system.files import replace_file

MAX_MANIFEST = 4096  # bytes; ours has about 200
KEPT = 2  # reported ones that a new one joins
SERIES = ("epoch", "best", "within")
T = TypeVar("T")
log = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path,
    name: str,
    content: Mapping[str, Any],
    owner: str = "",
    budget: DiskBudget | None = None,
) -> Path:
    """Write a checkpoint atomically, in place of one of the same name.

    Args:
        folder: created where missing.
        name: without suffix.
        content: plain tensors and Python values, as `torch.load(weights_only=True)` reads them.
        owner: whose it is.
        budget: of its study, which it must not exceed.

    Returns:
        The path of the `.pt` file.

    Raises:
        OSError: it could not be written, or does not fit the budget.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    data = buffer.getvalue()
    if budget is not None:
        budget.check(len(data))
    path, manifest = folder / f"{name}.pt", folder / f"{name}.json"
    manifest.unlink(missing_ok=True)
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
        path: of the `.pt` file.
        owner: whose it must be, if that matters.

    Raises:
        CheckpointError: a file is missing, cut or altered, somebody else's, or holds more than plain
            data.
    """
    data = _verified(path, owner)
    try:
        content = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a hostile file makes torch raise
        raise CheckpointError(  # torch's own message advises to load it with the code in it
            f"{path}: holds something else than tensors and plain values; nothing of it was run "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds no checkpoint, but a {type(content).__name__}")
    return content


def _verified(path: Path, owner: str) -> bytes:
    try:
        manifest = _read_manifest(path.with_suffix(".json"))
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole checkpoint ({error})") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path}: not a whole checkpoint (its manifest is no mapping)")
    if hashlib.sha256(data).hexdigest() != manifest.get("sha256"):
        raise CheckpointError(f"{path}: damaged (its sha256 is not the manifest's)")
    if manifest.get("name", path.stem) != path.stem:
        raise CheckpointError(f"{path}: is another checkpoint, {shorten(manifest['name'])}")
    if owner and (manifest.get("owner") or owner) != owner:
        raise CheckpointError(f"{path}: is a checkpoint of another trial")
    return data


def _read_manifest(path: Path) -> Any:
    with path.open("rb") as file:
        text = file.read(MAX_MANIFEST + 1)
    if len(text) > MAX_MANIFEST:
        raise ValueError(f"a manifest of more than {MAX_MANIFEST} bytes")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("a manifest nested too deeply") from None


def save_series(
    folder: Path,
    series: str,
    epoch: int,
    content: Mapping[str, Any],
    owner: str = "",
    budget: DiskBudget | None = None,
) -> Path:
    """Write checkpoint `SERIES-EPOCH`, for which all but the last two of its series make room."""
    keep_newest(folder, **{series: KEPT})
    return save_checkpoint(folder, f"{series}-{epoch:05d}", content, owner, budget)


def keep_newest(folder: Path, **counts: int) -> None:
    """Of each series named keep so many."""
    for series, count in counts.items():
        for old in newest_first(folder, series)[count:]:
            _drop(old)


def drop_half_written(folder: Path) -> None:
    """Drop what a kill left half written.

    Only for a trial that has ended or is about to go on: a worker that is cut off and outlives its
    segment writes beside that of the next, and neither may take the other's files away.
    """
    for series in SERIES:
        for path in folder.glob(f".{series}-*"):
            path.unlink(missing_ok=True)


def drop_after(folder: Path, epoch: int) -> None:
    """Drop the checkpoints of later epochs, which a trial that starts again from `epoch` has not."""
    for series in SERIES:
        for path in newest_first(folder, series):
            if epoch_of(path) > epoch:
                _drop(path)


def _drop(path: Path) -> None:
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def newest_first(folder: Path, series: str) -> list[Path]:
    """The checkpoints of a series, unverified, the one of the latest epoch first."""
    return sorted(folder.glob(f"{series}-*.pt"), reverse=True)


def epoch_of(path: Path) -> int:
    """Epochs done when the checkpoint was written."""
    return int(path.stem.rpartition("-")[2])


def last_state(folder: Path, epoch: int, owner: str = "") -> tuple[int, list[str]]:
    """Epochs done at the last good training state, and why none of those kept after it was taken.

    Args:
        folder: of one trial.
        epoch: the last that the trial has reported.
        owner: whose it must be, if that matters.
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
    """The newest checkpoint of a series that verifies, or None.

    Args:
        folder: of one trial.
        series: one of `SERIES`.
        at_most: checkpoints of later epochs are passed over.
        owner: whose it must be, if that matters.
        passed_over: is given what is wrong with each newer one.
    """
    found = _first_good(folder, series, at_most, lambda path: _verified(path, owner), passed_over)
    return None if found is None else found[0]


def load_last_good(
    folder: Path, series: str, at_most: int, owner: str = ""
) -> tuple[int, dict[str, Any]] | None:
    """As `last_good`, with what is in it: (epochs done, content), or None."""
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
            log.warning("%s; falling back to the one before", error)
            if passed_over is not None:
                passed_over.append(str(error))
    return None
