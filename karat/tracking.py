"""MLflow as a view of the journal, kept by a process of its own.

A slow or absent server therefore never touches training: the driver starts this process, and it
reads the journal at its own pace. What it writes to MLflow can be repeated (`karat.mlflow_view`),
so an outage is answered by starting over, and syncing twice, or from nothing, ends in the same
place.
"""

import contextlib
import fcntl
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from karat import faults
from karat.errors import StudyError
from karat.journal import FILE_NAME
from karat.mlflow_view import Record, View
from karat.quiet import switch_off_calls
from karat.studylock import is_locked

GIVE_UP_S = 60.0
_LONGEST_PAUSE_S = 5.0
log = logging.getLogger(__name__)


class TrackingError(StudyError):
    """MLflow could not be brought up to date; the journal has everything for another attempt."""


def tracking_uri(study_folder: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or else the SQLite file that the studies of one storage share."""
    storage = study_folder.absolute().parent
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"


def run_sync(study_folder: Path, *, follow: bool) -> int:
    """`python -m karat sync`: returns exit status 0.

    With `follow`, the driver holds the other end of stdin, and its end, however it came about,
    is the end of the file. Signals are ignored then: a cluster sends them to the whole job, and
    what the driver still has to say comes after.

    Raises:
        TrackingError: see `sync`.
    """
    if not follow:
        sync(study_folder)
        return 0
    if not sys.stdin.isatty():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
    sync(study_folder, follow=True, owner_alive=watch_stdin())
    return 0


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run as MLflow has it: its trial (-1 for the study's own), status, and epochs reported."""

    trial: int
    status: str
    epochs: frozenset[int]


def runs_of_study(study_folder: Path, name: str, uid: str) -> list[TrackedRun]:
    """The active runs of a study in MLflow, for `karat.audit`.

    Raises:
        TrackingError: MLflow does not answer.
    """
    uri = tracking_uri(study_folder)
    failures = _prepare_mlflow()
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return []
        runs, token = [], None
        while token != "":
            page = client.search_runs(
                [experiment.experiment_id],
                f"tags.`karat.study_uid` = '{uid}'",
                max_results=1000,
                page_token=token,
            )
            runs += [
                TrackedRun(
                    trial=int(run.data.tags.get("karat.trial", -1)),
                    status=run.info.status,
                    epochs=frozenset(
                        point.step
                        for point in client.get_metric_history(run.info.run_id, "epoch_seconds")
                    ),
                )
                for run in page
            ]
            token = page.token or ""
    except failures as error:
        raise TrackingError(
            f"MLflow at {_shown(uri)} could not be asked: {_first_line(error)}"
        ) from error
    return runs


def watch_stdin() -> Callable[[], bool]:
    """A function that tells whether somebody still holds the other end of stdin."""
    ended = threading.Event()

    def wait() -> None:
        with contextlib.suppress(OSError):  # a closed stdin is nobody at the other end
            while os.read(0, 4096):
                pass
        ended.set()

    threading.Thread(target=wait, name="watch-stdin", daemon=True).start()
    return lambda: not ended.is_set()


def sync(
    study_folder: Path,
    *,
    follow: bool = False,
    owner_alive: Callable[[], bool] | None = None,
    poll_s: float = 0.5,
    give_up_s: float = GIVE_UP_S,
) -> None:
    """Bring MLflow up to date with a study's journal.

    Args:
        study_folder: holds the journal.
        follow: go on until the owner is gone. The journal's own end does not end it: a resumed
            study's journal says "interrupted" until the driver has started its engine, and the
            report is written after the last event.
        owner_alive: whether the study's driver lives; left out, the study's lock is asked.
        poll_s: seconds between two looks at the journal.
        give_up_s: seconds for which MLflow may fail once the owner is gone.

    Raises:
        TrackingError: MLflow failed for `give_up_s`, or another process syncs this study.
        JournalError: the journal is damaged.
    """
    alive = owner_alive or (lambda: is_locked(study_folder))
    with _alone(study_folder, wait=follow):
        _loop(study_folder, follow, alive, poll_s, give_up_s)


def _loop(
    folder: Path, follow: bool, owner_alive: Callable[[], bool], poll_s: float, give_up_s: float
) -> None:
    record, view = Record(folder / FILE_NAME), None
    uri = tracking_uri(folder)
    pause, failing = poll_s, False
    deadline: float | None = None  # set when the owner is gone
    failures = _prepare_mlflow()
    while True:
        alive = owner_alive()  # before reading: all that a dead driver wrote is then there
        record.read()
        if not (follow and alive):
            deadline = deadline or time.monotonic() + give_up_s
        try:
            view = view or View(folder, uri)
            faults.at("view.push.before")
            view.update(record, alive=alive)
            faults.at("view.push.after")
        except failures as error:
            view = None  # what arrived is not known; the next view looks it up
            if deadline is not None and time.monotonic() >= deadline:
                raise TrackingError(_gave_up(folder, uri, error)) from error
            if not failing:
                log.warning("MLflow at %s fails, trying on: %s", _shown(uri), _first_line(error))
            failing, pause = True, min(2 * pause, _LONGEST_PAUSE_S)
        else:
            if failing:
                log.warning("MLflow at %s works again", _shown(uri))
            failing, pause = False, poll_s
            if deadline is not None:
                return
        time.sleep(pause)


def _gave_up(folder: Path, uri: str, error: Exception) -> str:
    return (
        f"MLflow at {_shown(uri)} could not be brought up to date: {_first_line(error)}. "
        f"Nothing is lost; `python -m karat sync {folder}` catches up when it works again"
    )


def _shown(text: str) -> str:
    """Without user and password; MLflow's messages have the address too."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _first_line(error: Exception) -> str:
    return _shown((str(error).strip() or type(error).__name__).splitlines()[0])[:300]


@contextlib.contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the view's lock: two processes would each make the runs that are missing."""
    lock = os.open(folder / "sync.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise TrackingError(
                f"{folder}: another process is syncing this study already"
            ) from None
        yield
    finally:
        os.close(lock)


def _prepare_mlflow() -> tuple[type[Exception], ...]:
    """Import MLflow, quiet and impatient; returns the exceptions that mean "try again later".

    `OSError` covers those of requests, and a file that could not be copied.
    """
    switch_off_calls()
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # It writes a traceback for what it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return (MlflowException, SQLAlchemyError, OSError)
