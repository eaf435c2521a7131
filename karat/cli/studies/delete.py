"""`karat delete`: removes a study's folder and what MLflow has of it, after a question.

The order: MLflow first, then MLflow's files beside the study, then the folder, its journal last. So a
deletion that was cut short is still a study, which `karat list` shows and the same command deletes.
"""

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from karat.cli.command import Command
from karat.cli.exit_status import FAILED, OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import add_study, study_folder
from karat.cli.text.layout import pairs, say
from karat.cli.text.next_steps import next_lines
from karat.errors import InputError, JournalError, StudyError, StudyLockedError
from karat.journal.layout import JOURNAL, LOCK

if TYPE_CHECKING:
    from karat.tracking.removal import Remains


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doomed:
    """What is to be deleted: a folder, if there is one, and what MLflow has, if it is not to be kept."""

    name: str
    folder: Path | None
    remains: "Remains | None"

    @property
    def places(self) -> list[Path]:
        """Folders, the study's last."""
        files = list(self.remains.files) if self.remains else []
        return files + ([self.folder] if self.folder else [])


def _add(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument("--yes", action="store_true", help="delete without a question")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--keep-mlflow", action="store_true", help="delete the folder alone; runs stay in MLflow"
    )
    part.add_argument(
        "--from-mlflow",
        action="store_true",
        help="delete from MLflow a study whose folder is gone; its name must be given",
    )
    add_json(parser)


def _delete(options: argparse.Namespace) -> int:
    if options.from_mlflow:
        return _asked(_gone(options), options)
    try:
        folder = study_folder(options.study, options.storage)
    except InputError as error:
        raise InputError(f"{error}{_in_mlflow(options.study, options.storage)}") from None
    from karat.study.folder import refuse_symlinks

    refuse_symlinks(folder)
    with _held(folder):
        return _asked(_found(folder, options.keep_mlflow), options)


def _found(folder: Path, keep_mlflow: bool) -> _Doomed:
    """What there is of a study.

    Raises:
        StudyError: MLflow does not answer, or the journal does not say which runs are the study's.
    """
    if keep_mlflow:
        return _Doomed(name=folder.name, folder=folder, remains=None)
    from karat.tracking.client import TrackingError
    from karat.tracking.removal import find_remains

    name, uid = _identity(folder)
    try:
        remains = find_remains(folder, name, uid)
    except TrackingError as error:
        raise StudyError(
            f"{error} --keep-mlflow deletes the folder alone; `karat delete {name} --from-mlflow` can "
            "delete the rest later"
        ) from None
    return _Doomed(name=name, folder=folder, remains=remains)


def _identity(folder: Path) -> tuple[str, str]:
    """Name and uid of a study: of its first event, since the rest of the journal may be damaged."""
    from karat.journal.journal import read_events

    try:
        created = next(read_events(folder / JOURNAL), None)
        if created is None:  # launched, and killed before its first event: MLflow has nothing
            return folder.name, ""
        return str(created.data["name"]), str(created.data["uid"])
    except (JournalError, KeyError) as error:
        raise StudyError(
            f"{error}. So it is not known which runs in MLflow are of this study; --keep-mlflow deletes "
            "the folder alone"
        ) from None


def _gone(options: argparse.Namespace) -> _Doomed:
    """What MLflow has of a study whose folder is gone.

    Raises:
        InputError: the folder is there, or MLflow has nothing of that name.
    """
    from karat.tracking.removal import find_remains

    name, storage = options.study, options.storage
    if (storage / name / JOURNAL).exists():
        raise InputError(f"{storage / name}: is there; without --from-mlflow all of it is deleted")
    remains = find_remains(storage / name, name, None)
    if remains.is_empty:
        raise InputError(f"{name}: MLflow has no study of this name")
    from karat.study.folder import refuse_symlinks

    refuse_symlinks(storage / name)
    return _Doomed(name=name, folder=None, remains=remains)


def _in_mlflow(name: str, storage: Path) -> str:
    """What to say about a study that is not on disk, if MLflow has runs of it."""
    from karat.tracking.client import TrackingError
    from karat.tracking.removal import find_remains

    try:
        remains = find_remains(storage / name, name, None)
    except TrackingError as error:
        return f". Whether MLflow has it is not known: {error}"
    if remains.is_empty:
        return ""
    return (
        f". MLflow has {len(remains.runs)} runs of a study of this name; --from-mlflow deletes them"
    )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the study's locks, so that no process runs or syncs it meanwhile.

    Raises:
        StudyLockedError: it is running, or is synced.
    """
    from karat.journal.lock import StudyLock
    from karat.tracking.sync import alone

    try:
        lock = StudyLock.take(folder)
    except StudyLockedError as error:
        raise StudyLockedError(f"{error}. A study that runs is not deleted") from None
    try:
        with alone(folder, wait=False):
            yield
    finally:
        lock.release()


def _asked(doomed: _Doomed, options: argparse.Namespace) -> int:
    """Show what will be deleted, ask, and delete it."""
    size = sum(map(_size, doomed.places))
    if not options.json:
        say(_described(doomed, size))
    if not options.yes and not _agreed(options.json):
        print("nothing was deleted", file=sys.stderr)
        return FAILED
    if doomed.remains is not None:
        from karat.tracking.removal import delete_remains

        delete_remains(doomed.remains)
    for place in doomed.places:
        _remove(place)
    if options.json:
        print_json("delete", _json(doomed, size))
    else:
        say(["deleted", *next_lines(None, "list")])
    return OK


def _described(doomed: _Doomed, size: int) -> Iterable[str]:
    from karat.report.formatting import memory_text

    rows = [("study", doomed.name), ("folder", str(doomed.folder or ""))]
    remains = doomed.remains
    if remains is None:
        rows.append(("MLflow", "is kept as it is (--keep-mlflow)"))
    elif remains.is_empty:
        rows.append(("MLflow", "has nothing of it"))
    else:
        from karat.system.redact import shown_address

        own = "" if remains.is_shared else ", and its experiment"
        versions = f", {len(remains.versions)} registered model(s)" if remains.versions else ""
        rows.append(("MLflow", f"{len(remains.runs)} runs{versions}{own}"))
        rows.append(("", f"at {shown_address(remains.uri)}"))
        rows += [("files", str(place)) for place in remains.files]
    rows.append(("size", memory_text(size)))
    return pairs(rows)


def _agreed(is_json: bool) -> bool:
    """Ask the user.

    Raises:
        InputError: there is no terminal to ask in.
    """
    if not sys.stdin.isatty():
        raise InputError(
            "delete asks before it deletes, and there is no terminal to ask in; --yes deletes without "
            "a question"
        )
    stream = sys.stderr if is_json else sys.stdout
    print("Delete all this? It cannot be undone. [y/N] ", end="", file=stream, flush=True)
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print(file=stream)
        return False


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path) -> None:
    """Delete a folder; of a study the journal last, so that it stays a study until then."""
    last = [folder / name for name in (JOURNAL, LOCK)]
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path not in last:
            path.unlink()
    for path in last:
        path.unlink(missing_ok=True)
    folder.rmdir()


def _json(doomed: _Doomed, size: int) -> dict[str, object]:
    remains = doomed.remains
    return {
        "study": doomed.name,
        "folder": None if doomed.folder is None else str(doomed.folder),
        "bytes": size,
        "runs": 0 if remains is None else len(remains.runs),
        "model_versions": 0 if remains is None else len(remains.versions),
        "experiment": bool(remains and remains.experiment and not remains.is_shared),
    }


DELETE = Command(_add, _delete)
