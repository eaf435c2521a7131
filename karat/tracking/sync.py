"""MLflow as a view of the journal, kept by a process of its own.

A slow or absent server therefore never touches training: the driver starts this process, and it
reads the journal at its own pace. What it writes to MLflow can be repeated (`karat.tracking.view`),
so an outage of any kind is answered by starting over, and syncing twice, or from nothing, ends in
the same place.
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
from karat.system.redact import shown_address, without_secrets
from karat.tracking.client import TrackingError, patience, prepare_mlflow, time_limit, tracking_uri
from karat.tracking.runs import all_runs, is_deleted, is_of_another, trial_of
from karat.tracking.view import Record, View

__all__ = ["TrackedRun", "TrackingError", "run_sync", "runs_of_study", "sync", "tracking_uri"]
GIVE_UP_S = 60.0
_LONGEST_PAUSE_S = 5.0  # between the starts of two attempts
_PROBE_S, _ANSWER_S, _LONGEST_ANSWER_S = 5.0, 10.0, 320.0
log = logging.getLogger(__name__)


def run_sync(study_folder: Path, *, follow: bool, deleted_runs: DeletedRuns | None = None) -> int:
    """`python -m karat sync`: returns exit status 0.

    With `follow`, the driver holds the other end of stdin, and its end, however it came about,
    is the end of the file. Signals are ignored then: a cluster sends them to the whole job, and
    what the driver still has to say comes after.

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
    """A run as MLflow has it: its trial (-1 for the study's own), status, and epochs reported.

    `latest` has the value of each metric at its highest step. `of_another` marks a run that shows
    another trial than the journal has by that number.
    """

    trial: int
    status: str
    epochs: frozenset[int]
    latest: Mapping[str, float]
    deleted: bool
    of_another: bool


def runs_of_study(study_folder: Path, state: StudyState) -> list[TrackedRun] | None:
    """The runs of a study in MLflow, for `karat.study.audit`; None if its whole experiment was deleted.

    Raises:
        TrackingError: MLflow does not answer, or not as MLflow does.
    """
    uri = tracking_uri(study_folder)
    prepare_mlflow()
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    try:
        with patience(time_limit(_ANSWER_S)):
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
    except Exception as error:  # as in `_loop`
        raise TrackingError(
            f"MLflow at {shown_address(uri)} could not be asked: {_first_line(error)}"
        ) from error


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
    deleted_runs: DeletedRuns | None = None,
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
        deleted_runs: what becomes of runs deleted in MLflow, in place of what the space says.

    Raises:
        TrackingError: MLflow failed for `give_up_s`, or another process syncs this study.
        JournalError: the journal is damaged.
    """
    alive = owner_alive or (lambda: is_locked(study_folder))
    with _alone(study_folder, wait=follow):
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
    deadline: float | None = None  # set when the owner is gone
    while True:
        begun = time.monotonic()
        alive = owner_alive()  # before reading: all that a dead driver wrote is then there
        if not (follow and alive):
            deadline = deadline or begun + give_up_s
            view = None  # the last look is a fresh one: who knows what was deleted or lost
        try:
            record.read()
            view = view or View(folder, outage.uri, deleted_runs)
            _push(view, record, outage, alive=alive, last=deadline is not None)
        except JournalError:
            raise
        # An answer that is none of MLflow's can lead to anything in its client, and storage may be
        # away for a while too.
        except Exception as error:
            outage.goes_on(error, answered=view is not None and bool(view.experiment))
            view = None  # what arrived is not known; the next view looks it up
            if deadline is not None and time.monotonic() >= deadline:
                raise TrackingError(_gave_up(folder, outage.uri, error)) from error
        else:
            outage.is_over()
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
    """Whether MLflow fails, what is said about it, and how long to wait: for an answer, and between.

    Whether a server is there is asked with little patience, so that its return is noticed soon.
    One that is there and slow is given more time with each attempt.
    """

    def __init__(self, uri: str, poll_s: float) -> None:
        self.uri, self.poll_s = uri, poll_s
        self.probe_s = time_limit(_PROBE_S)
        self._usual_answer_s = time_limit(_ANSWER_S)
        self._failing = False
        self.pause_s, self.answer_s = poll_s, self._usual_answer_s

    def goes_on(self, error: Exception, *, answered: bool) -> None:
        """Note a failure; `answered` if it was not the first question that failed."""
        if not self._failing:
            shown = shown_address(self.uri)
            log.warning("MLflow at %s fails, trying on: %s", shown, _first_line(error))
        self._failing = True
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)
        if answered:
            self.answer_s = max(self.answer_s, min(2 * self.answer_s, _LONGEST_ANSWER_S))

    def is_over(self) -> None:
        """Note a success."""
        if self._failing:
            log.warning("MLflow at %s works again", shown_address(self.uri))
        self._failing = False
        self.pause_s, self.answer_s = self.poll_s, self._usual_answer_s


def _gave_up(folder: Path, uri: str, error: Exception) -> str:
    return (
        f"MLflow at {shown_address(uri)} could not be brought up to date: {_first_line(error)}. "
        f"Nothing is lost; `python -m karat sync {folder}` catches up when it works again"
    )


def _first_line(error: Exception) -> str:
    """What went wrong, with the kind of error where it is none that MLflow, or we, raise to be read."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, LookupError | TypeError | AttributeError | ValueError):
        first = f"an answer that is none of MLflow's? ({type(error).__name__}: {first})"
    return without_secrets(first)[:300]


@contextlib.contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the view's lock: two processes would each make the runs that are missing."""
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
