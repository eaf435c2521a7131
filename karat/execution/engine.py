"""The engine: runs a study's segments in worker processes that Ray Tune keeps.

A trial of Tune is a slot: a worker process that runs one segment after the other. Tune places, starts
and monitors the workers. It makes no decision about the study and
stores nothing of it: its experiment state is in a temporary folder and is never restored.
"""

import contextlib
import importlib
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from karat.execution.environment import prepare_environment
from karat.execution.local_ray import LOOPBACK, end_ray, join_ray, start_ray
from karat.execution.preload import PRELOAD
from karat.execution.ray_internals import no_usage_of_callbacks, plain_workers
from karat.execution.watch import Watch, exit_at_once
from karat.forecast.capacity import slots_of
from karat.journal.layout import PAUSE_FILE
from karat.space.settings import ResourceConfig
from karat.study.study import Study
from karat.system.process.memory import MemoryKills
from karat.system.tempdir import make_tempdir
from karat.training import pause

if TYPE_CHECKING:
    from ray.tune import Trainable

GRACE_S = 20.0
_LOOK_EVERY_S = 0.5
# Tune would copy these into the workers' command lines and Ray's logs, where others can read them;
# the workers of a cluster have them from its nodes.
_NOT_FOR_TUNE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)


class Engine:
    """A Ray cluster while a study runs: started on this machine, or an existing one that is joined.

    Use it as a context manager. It installs no signal handlers: the caller handles signals.

    Args:
        resources: resources of a trial.
        address: address of the cluster to join; None starts Ray on this machine.
        most_slots: trials at a time after a joined cluster has grown, if it grows while trials wait
            for resources; 0 if it does not grow.
    """

    def __init__(
        self, resources: ResourceConfig, address: str | None = None, most_slots: int = 0
    ) -> None:
        self.resources, self.address, self.most_slots = resources, address, most_slots
        self.slots = slots_of(resources) if address is None else 0
        self.folder = make_tempdir()  # of Ray's files
        self._own_handler = signal.getsignal(signal.SIGUSR1)
        self._tunes_handler: Callable[[int, FrameType | None], object] | None = None
        self._pause_file: Path | None = None  # of the running study
        # Called in a thread with details of `karat.causes.Interrupt.RAY`; it does not return.
        self.on_trouble: Callable[[dict[str, object]], None] | None = None
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
        # It takes two seconds, for which this thread otherwise waits until Ray has started.
        threading.Thread(target=importlib.import_module, args=("ray.tune",), daemon=True).start()
        if self.address is not None:
            self.slots = max(1, join_ray(self.address, self.resources, self.most_slots))
            return
        try:
            self._start()
        except (RuntimeError, TimeoutError, ConnectionError) as error:
            logging.getLogger(__name__).warning("Ray did not start (%s); trying once more", error)
            end_ray()
            self._start()

    def __exit__(self, *_: object) -> None:
        end_ray()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        cpus = self.slots * self.resources.cpus * self.resources.num_processes
        # Ray starts a process for each CPU at once: here each will be a slot.
        start_ray(self.folder, cpus=cpus, preload=PRELOAD if cpus == self.slots else ())

    def stop(self) -> None:
        """Make `run` return soon, or at once if it has not begun; safe in a signal handler.

        Running trials are asked to write a checkpoint and stop. After `GRACE_S` seconds they are
        killed; the next launch resumes those from the checkpoint before. The same happens if the
        pause file cannot be written: this method never raises.
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
                "the trials could not be asked to stop (%s); they will be killed in %g seconds",
                error,
                GRACE_S,
            )

    def _end(self) -> None:
        if self._tunes_handler is not None:
            # Tune's handler ends by restoring SIGINT's handler, a ValueError outside the main thread.
            with contextlib.suppress(ValueError):
                self._tunes_handler(signal.SIGUSR1, None)
        elif signal.getsignal(signal.SIGUSR1) != self._own_handler:  # it is Tune's
            os.kill(os.getpid(), signal.SIGUSR1)

    def on_tune_started(self) -> None:
        """Take SIGUSR1 back from Tune, which has begun, and keep its handler to stop Tune with."""
        handler = signal.getsignal(signal.SIGUSR1)
        if callable(handler) and handler != self._own_handler:
            self._tunes_handler = handler
            signal.signal(signal.SIGUSR1, self._own_handler)

    def _watch(self, study: Study, ended: threading.Event) -> None:
        """Stop the run when the study's budget is used up, even in the middle of an epoch."""
        while study.space.budget.limits and not ended.wait(_LOOK_EVERY_S):
            if study.spent() is not None:
                self.stop()
                return

    def run(self, study: Study, trainable: "type[Trainable]") -> None:
        """Run segments until the study is finished, its budget is used up or `stop` is called.

        Args:
            study: provides the segments, and receives reports and losses of workers.
            trainable: runs the segments of a slot, and knows what Ray has to reserve for it.

        Raises:
            KaratError: the study failed to process a result.
        """
        from ray import tune

        from karat.execution.tune_adapters import (
            FirstAssignment,
            NoProgress,
            StudyScheduler,
            StudySearcher,
        )

        watch = Watch(self.on_trouble or exit_at_once, self.address)
        kills = MemoryKills.read if self.address is None else None
        searcher = StudySearcher(study, self, watch.on_step, kills=kills)
        most = max(self.slots, self.most_slots)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(most)  # all workers start at once
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=StudyScheduler(searcher, is_cluster=self.address is not None),
                num_samples=-1,
                max_concurrent_trials=most,
                reuse_actors=False,  # a slot's worker stays, and runs one segment after the other
            ),
            run_config=tune.RunConfig(
                name="segments",
                storage_path=str(self.folder / "tune"),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[NoProgress(), FirstAssignment(searcher)],
                verbose=0,
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        self._own_handler = signal.getsignal(signal.SIGUSR1)
        pause_file = study.folder / PAUSE_FILE
        pause.write(pause_file, pause.GO)
        self._pause_file = pause_file
        if self.stopped:  # a signal came before there was a pause file
            pause.write(pause_file, pause.PAUSE)
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(study, ended), daemon=True).start()
        try:
            hidden = _without_variables(_NOT_FOR_TUNE) if self.address else plain_workers()
            with watch, hidden, no_usage_of_callbacks():
                tuner.fit()
        finally:
            ended.set()
            self._pause_file = self._tunes_handler = None
            signal.signal(signal.SIGUSR1, self._own_handler)
        if searcher.error is not None:
            raise searcher.error


@contextlib.contextmanager
def _without_variables(names: Iterable[str]) -> Iterator[None]:
    """Remove variables from this process's environment within the block."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
