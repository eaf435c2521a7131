"""MLflow as a view of the journal, kept up to date by a separate process.

The driver starts this process, which reads the journal at its own pace, so a slow or missing server
never delays training. Writing to MLflow is idempotent (`karat.tracking.view`): after an outage the
view starts again from scratch, and a second sync changes nothing.
"""

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from karat.errors import JournalError
from karat.journal.layout import JOURNAL, SYNC_LOCK
from karat.journal.lock import flock, is_locked
from karat.journal.state import StudyState
from karat.space.settings import DeletedRuns
from karat.system import fault_injection
from karat.system.redact import shown_address
from karat.tracking.client import (
    ANSWER_S,
    TrackingError,
    asking,
    has_no_database,
    patience,
    prepare_mlflow,
    reason_of,
    time_limit,
    tracking_uri,
)
from karat.tracking.record import Record
from karat.tracking.runs import all_runs, is_deleted, is_of_another, trial_of
from karat.tracking.view import View

__all__ = ["TrackedRun", "TrackingError", "run_sync", "runs_of_study", "sync", "tracking_uri"]
GIVE_UP_S = 60.0
_LONGEST_PAUSE_S = 5.0  # between the starts of two attempts
_PROBE_S, _LONGEST_ANSWER_S = 5.0, 320.0
log = logging.getLogger(__name__)


def run_sync(study_folder: Path, *, follow: bool, deleted_runs: DeletedRuns | None = None) -> int:
    """`python -m karat sync`: returns exit status 0.

    With `follow`, the driver holds the other end of stdin, which closes when the driver exits for
    any reason. Signals are then ignored: a cluster sends them to the whole job, and the driver
    writes its last events after them.

    Raises:
        TrackingError: see `sync`.
    """
    if not follow:
        sync(study_folder, deleted_runs=deleted_runs)
        return 0
    if not sys.stdin.isatty():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
    sync(study_folder, follow=True, owner_alive=watch_stdin(), deleted_runs=deleted_runs)
    return 0


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run in MLflow: its trial (-1 for the study's run), status, and reported epochs.

    `latest` has the value of each metric at its highest step. `of_another` marks a run that shows
    another trial than the one with its number in the journal.
    """

    trial: int
    status: str
    epochs: frozenset[int]
    latest: Mapping[str, float]
    deleted: bool
    of_another: bool


def runs_of_study(study_folder: Path, state: StudyState) -> list[TrackedRun] | None:
    """The runs of a study in MLflow, for `karat.study.audit`; None if its experiment was deleted.

    Raises:
        TrackingError: MLflow does not answer, or the answer is not MLflow's.
    """
    uri = tracking_uri(study_folder)
    if has_no_database(study_folder, uri):
        return []
    with asking(uri, "could not be read") as client:
        experiment = client.get_experiment_by_name(state.created["name"])
        if experiment is None:
            return []
        if experiment.lifecycle_stage == "deleted":
            return None
        return [
            TrackedRun(
                trial=trial_of(run),
                status=run.info.status,
                epochs=frozenset(
                    point.step
                    for point in client.get_metric_history(run.info.run_id, "epoch_seconds")
                ),
                latest=run.data.metrics,
                deleted=is_deleted(run),
                of_another=is_of_another(run, state.trials.get(trial_of(run))),
            )
            for run in all_runs(client, experiment.experiment_id, state.created["uid"])
        ]


def watch_stdin() -> Callable[[], bool]:
    """Watch stdin in a thread; returns a function that tells whether the other end is still open."""
    ended = threading.Event()

    def wait() -> None:
        with contextlib.suppress(OSError):  # stdin itself is closed
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
    deleted_runs: DeletedRuns | None = None,
) -> None:
    """Bring MLflow up to date with a study's journal.

    Args:
        study_folder: holds the journal.
        follow: continue until the driver exits. The last event is no sign of that: the journal of
            a resumed study ends with "interrupted" until the driver has started its engine, and
            the report is written after the last event.
        owner_alive: whether the study's driver runs; by default the study's lock is checked.
        poll_s: seconds between two reads of the journal.
        give_up_s: seconds for which MLflow may fail after the driver exited.
        deleted_runs: overrides the space's `tracking.deleted_runs`.

    Raises:
        TrackingError: MLflow failed for `give_up_s`, or another process syncs this study.
        JournalError: the journal is damaged.
    """
    alive = owner_alive or (lambda: is_locked(study_folder))
    with alone(study_folder, wait=follow):
        prepare_mlflow()
        outage = _Outage(tracking_uri(study_folder), poll_s)
        _loop(study_folder, follow, alive, outage, give_up_s, deleted_runs)


def _loop(
    folder: Path,
    follow: bool,
    owner_alive: Callable[[], bool],
    outage: "_Outage",
    give_up_s: float,
    deleted_runs: DeletedRuns | None,
) -> None:
    record, view = Record(folder / JOURNAL), None
    deadline: float | None = None  # set when the driver has exited
    while True:
        begun = time.monotonic()
        alive = owner_alive()  # before reading, so that nothing the driver wrote is missed
        if not (follow and alive):
            deadline = deadline or begun + give_up_s
            view = None  # the last update looks runs up again, since any may have been deleted
        try:
            record.read()
            view = view or View(folder, outage.uri, deleted_runs)
            _push(view, record, outage, alive=alive, last=deadline is not None)
        except JournalError:
            raise
        # MLflow's client may raise anything for an answer that is not MLflow's, and the storage may
        # be unavailable for a while too.
        except Exception as error:
            outage.on_failure(error, answered=view is not None and bool(view.experiment))
            view = None  # unknown what was written; the next view looks it up
            if deadline is not None and time.monotonic() >= deadline:
                raise TrackingError(_gave_up(folder, outage.uri, error)) from error
        else:
            outage.on_success()
            if deadline is not None:
                return
        time.sleep(max(outage.poll_s, begun + outage.pause_s - time.monotonic()))


def _push(view: View, record: Record, outage: "_Outage", *, alive: bool, last: bool) -> None:
    fault_injection.at("view.push.before")
    with patience(outage.probe_s):
        view.find_experiment(record)
    with patience(outage.answer_s):
        view.update(record, alive=alive)
        if last:
            view.check(record)
    fault_injection.at("view.push.after")


class _Outage:
    """Tracks failures of MLflow, logs them once, and sets the timeout and the pause between attempts.

    The first request of an attempt has a short timeout, so that the return of a server is noticed
    soon. A server that answers but is slow gets a longer timeout with each attempt.
    """

    def __init__(self, uri: str, poll_s: float) -> None:
        self.uri, self.poll_s = uri, poll_s
        self.probe_s = time_limit(_PROBE_S)
        self._usual_answer_s = time_limit(ANSWER_S)
        self._failing = False
        self.pause_s, self.answer_s = poll_s, self._usual_answer_s

    def on_failure(self, error: Exception, *, answered: bool) -> None:
        """Note a failure; `answered` if the first request of the attempt succeeded."""
        if not self._failing:
            shown = shown_address(self.uri)
            log.warning("MLflow at %s fails, retrying: %s", shown, reason_of(error))
        self._failing = True
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)
        if answered:
            self.answer_s = max(self.answer_s, min(2 * self.answer_s, _LONGEST_ANSWER_S))

    def on_success(self) -> None:
        """Note a success."""
        if self._failing:
            log.warning("MLflow at %s works again", shown_address(self.uri))
        self._failing = False
        self.pause_s, self.answer_s = self.poll_s, self._usual_answer_s


def _gave_up(folder: Path, uri: str, error: Exception) -> str:
    return (
        f"MLflow at {shown_address(uri)} could not be updated: {reason_of(error)}. "
        f"Nothing is lost; `python -m karat sync {folder}` catches up when it works again"
    )


@contextlib.contextmanager
def alone(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the view's lock, since two processes would create missing runs twice.

    Raises:
        TrackingError: another process has it, and `wait` is False.
    """
    lock = os.open(folder / SYNC_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            if not flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
                log.warning("%s: this file system has no locks; sync one at a time here", folder)
        except BlockingIOError:
            raise TrackingError(
                f"{folder}: another process is syncing this study already"
            ) from None
        yield
    finally:
        os.close(lock)
