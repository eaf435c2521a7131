"""Ray Tune as the engine: runs a study's segments, each as one Tune trial.

Tune schedules, keeps the worker processes and watches them. It decides nothing and keeps
nothing: its own experiment state lives in a temporary folder and is never restored from.
"""

import contextlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from karat.execution.local_ray import LOOPBACK, close_environment, end_ray, join_ray, start_ray
from karat.forecast.capacity import slots_of
from karat.journal.layout import PAUSE_FILE
from karat.space.settings import ResourceConfig
from karat.study.study import Study
from karat.system.paths import add_to_python_path
from karat.system.tempdir import make_tempdir
from karat.training import pause

if TYPE_CHECKING:
    from karat.execution.trainable import SegmentTrainable

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours tells Tune by SIGUSR1
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
GRACE_S = 20.0
_LOOK_EVERY_S = 0.5
# Tune copies these into the workers' command lines and Ray's logs; workers inherit them anyway.
_NOT_FOR_TUNE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)


class Engine:
    """A Ray cluster for as long as a study runs: one of our own on this machine, or a given one.

    Use as a context manager. Signals are the caller's.

    Args:
        resources: of a trial.
        address: of a cluster to join; None starts one here.
        most_slots: trials at a time that a cluster to join may come to, if it grows when trials wait
            in Ray for room; 0 where it does not.
    """

    def __init__(
        self, resources: ResourceConfig, address: str | None = None, most_slots: int = 0
    ) -> None:
        self.resources, self.address, self.most_slots = resources, address, most_slots
        self.slots = slots_of(resources) if address is None else 0
        self._folder = make_tempdir()
        self._own_handler = signal.getsignal(signal.SIGUSR1)
        self._tunes_handler: Callable[[int, FrameType | None], object] | None = None
        self._pause_file: Path | None = None  # of the study that runs
        self.stopped = False

    def __enter__(self) -> "Engine":
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        prepare_environment(self.address or LOOPBACK)
        if self.address is not None:
            self.slots = max(1, join_ray(self.address, self.resources, self.most_slots))
            return
        try:
            self._start()
        except (RuntimeError, TimeoutError, ConnectionError) as error:
            logging.getLogger(__name__).warning(
                "Ray did not start (%s); starting it once more", error
            )
            end_ray()
            self._start()

    def __exit__(self, *_: object) -> None:
        end_ray()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        cpus = self.slots * self.resources.cpus * self.resources.num_processes
        start_ray(self._folder, cpus=cpus)

    def stop(self) -> None:
        """Make `run` return soon, or not begin; safe to call from a signal handler.

        What runs is told to write a checkpoint and leave off, for which it has `GRACE_S`; then
        it is ended, and goes on from the checkpoint before. So it is where storage cannot be
        written to: no error leaves this.
        """
        self.stopped = True
        if self._pause_file is None:
            self._end()
            return
        timer = threading.Timer(GRACE_S, self._end)
        timer.daemon = True
        timer.start()
        try:
            pause.write(self._pause_file, pause.PAUSE)
        except OSError as error:
            logging.getLogger(__name__).warning(
                "the trials could not be told to leave off (%s); they are ended in %g seconds",
                error,
                GRACE_S,
            )

    def _end(self) -> None:
        if self._tunes_handler is not None:
            # It puts a handler of SIGINT back after its work, which only the main thread may do.
            with contextlib.suppress(ValueError):
                self._tunes_handler(signal.SIGUSR1, None)
        elif signal.getsignal(signal.SIGUSR1) != self._own_handler:  # Tune's is in place
            os.kill(os.getpid(), signal.SIGUSR1)

    def begun(self) -> None:
        """Tune runs and has taken SIGUSR1 for itself: take it back, and keep Tune's way to end."""
        handler = signal.getsignal(signal.SIGUSR1)
        if callable(handler) and handler != self._own_handler:
            self._tunes_handler = handler
            signal.signal(signal.SIGUSR1, self._own_handler)

    def _watch(self, study: Study, ended: threading.Event) -> None:
        """Stop the run when the study's budget is spent, which may be in the middle of an epoch."""
        while study.space.budget.limits and not ended.wait(_LOOK_EVERY_S):
            if study.spent() is not None:
                self.stop()
                return

    def run(self, study: Study, trainable: "type[SegmentTrainable] | None" = None) -> None:
        """Run segments until the study is finished, its budget is spent or `stop` is called.

        Args:
            study: is told of everything that happens.
            trainable: in the place of the one that trains, for benchmarks.

        Raises:
            KaratError: what went wrong in the study while it took in a result.
        """
        from ray import tune

        from karat.execution.trainable import SegmentTrainable
        from karat.execution.tune_adapters import (
            NoProgress,
            Placed,
            StudyScheduler,
            StudySearcher,
            placement_of,
        )

        searcher = StudySearcher(study, self)
        prepared = tune.with_resources(trainable or SegmentTrainable, placement_of)
        tuner = tune.Tuner(
            prepared,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=StudyScheduler(searcher),
                num_samples=-1,
                max_concurrent_trials=max(self.slots, self.most_slots),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="segments",
                storage_path=str(self._folder / "tune"),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[NoProgress(), Placed(searcher)],
                verbose=0,
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        self._own_handler = signal.getsignal(signal.SIGUSR1)
        pause_file = study.folder / PAUSE_FILE
        pause.write(pause_file, pause.GO)
        self._pause_file = pause_file
        if self.stopped:  # meanwhile
            pause.write(pause_file, pause.PAUSE)
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(study, ended), daemon=True).start()
        try:
            with _out_of_sight(_NOT_FOR_TUNE):
                tuner.fit()
        finally:
            ended.set()
            self._pause_file = self._tunes_handler = None
            signal.signal(signal.SIGUSR1, self._own_handler)
        if searcher.error is not None:
            raise searcher.error


def prepare_environment(address: str) -> None:
    """Set what Ray and Tune read, in the driver and, by inheritance, in every worker.

    Args:
        address: of Ray's head.
    """
    os.environ.update(_ENVIRONMENT)
    close_environment(address)
    add_to_python_path(os.environ)


@contextlib.contextmanager
def _out_of_sight(names: Iterable[str]) -> Iterator[None]:
    """Take variables out of this process's environment for a while."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
