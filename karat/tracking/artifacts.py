"""Files of a run in MLflow's artifact store, stored once where the store is on the study's own disk."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from karat.tracking.client import reason_of

log = logging.getLogger(__name__)


def log_unchanging(client: Any, run_id: str, file: Path, folder: str) -> None:
    """Log a file that is never modified in place, as a checkpoint: it is replaced, or deleted.

    In a folder of the same file system it becomes a hard link, one file with two names, each of which may
    be deleted. Elsewhere it is copied, and to a server uploaded.

    Args:
        client: an `MlflowClient`.
        run_id: of the run.
        file: an existing file.
        folder: below the run's artifacts.
    """
    root = local_path(client.get_run(run_id).info.artifact_uri)
    if root is None or not _linked(file, root / folder):
        client.log_artifact(run_id, str(file), folder)


def drop_others(client: Any, run_id: str, folder: str, kept: Collection[str]) -> None:
    """Delete the files of a run below a folder that are not among those to keep.

    Where that is not possible they stay, which is logged.

    Args:
        client: an `MlflowClient`.
        run_id: of the run.
        folder: below the run's artifacts.
        kept: paths below the run's artifacts.
    """
    others = [path for path in _files(client, run_id, folder) if path not in kept]
    if not others:
        return
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store = get_artifact_repository(client.get_run(run_id).info.artifact_uri, client.tracking_uri)
    try:
        for path in others:
            store.delete_artifacts(path)  # type: ignore[no-untyped-call]
    # Not every store or server lets artifacts be deleted; what a server answers is an OSError.
    except (MlflowException, NotImplementedError, OSError) as error:
        log.warning(
            "the run %s still shows %s, which the study no longer has: they could not be deleted (%s)",
            run_id,
            ", ".join(others),
            reason_of(error),
        )


def _files(client: Any, run_id: str, folder: str) -> Iterator[str]:
    for each in client.list_artifacts(run_id, folder):
        if each.is_dir:
            yield from _files(client, run_id, each.path)
        else:
            yield each.path


def local_path(uri: str) -> Path | None:
    """The folder of an artifact store on this machine; None for any other store."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return None
    return Path(url2pathname(parts.path))


def _linked(file: Path, folder: Path) -> bool:
    """Make `folder` have a link to a file, in one step; returns whether that was possible."""
    target = folder / file.name
    # Not on another disk, not where the file system has no links, not on a link to elsewhere.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.samefile(file):
            return True
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".link-") as scratch:
            link = Path(scratch, file.name)
            os.link(file, link, follow_symlinks=False)
            link.replace(target)
        return True
    return False
