"""The searcher, scheduler and callbacks that Ray Tune calls in the driver; they forward to the study."""

import dataclasses
import json
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray import tune
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from karat.causes import KILLED_BY_RAY, Failure
from karat.errors import KaratError
from karat.execution.actor_rank import bundles_of
from karat.execution.trainable import REPORT
from karat.study.study import Study
from karat.training.segment import Segment

# Attributes of Tune's controller that hold ended trials, besides the list of all trials.
_ENDED_TRIALS = ("_stopped_trials", "_failed_trials", "_trials_to_cache")


class Switch(Protocol):
    """What the callbacks need from the engine."""

    stopped: bool

    def stop(self) -> None:
        """Make the run end soon."""

    def begun(self) -> None:
        """Called in the main thread while Tune runs: Tune's signal handlers are installed."""


def placement_of(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Return what Ray reserves for a segment: one bundle per process, packed on few nodes."""
    segment = Segment(**json.loads(config["segment"]))
    return tune.PlacementGroupFactory(bundles_of(segment), strategy="PACK")


class StudySearcher(Searcher):
    """Gives the study's segments to Tune, and reports lost workers to the study.

    No callback may raise, since Tune would hang: the first error is kept in `error` and stops the
    run.

    Args:
        study: the study, which stays in the driver and is never pickled.
        switch: stops the run.
    """

    def __init__(self, study: Study, switch: Switch) -> None:
        super().__init__()
        self._study, self._switch = study, switch
        self._trials: dict[str, int] = {}
        self._killed_for_memory: set[str] = set()
        self.error: KaratError | OSError | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher but never restores it

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        self._switch.begun()
        if self._switch.stopped or self._study.finished:
            return Searcher.FINISHED
        segment = self.guard(lambda: self._study.next_segment(placed=False))
        if segment is None:
            return Searcher.FINISHED if self._study.finished else None
        self._trials[trial_id] = segment.trial
        return {"segment": json.dumps(dataclasses.asdict(segment))}

    def on_placed(self, trial_id: str) -> None:
        """Tell the study that a segment has a worker; on a full cluster the segment may have waited."""
        if trial_id in self._trials:
            self.guard(lambda: self._study.on_placed(self._trials[trial_id]))

    def on_result(self, result: dict[str, Any]) -> bool:
        """Forward a report to the study; return True if the trial is to stop."""
        report = json.loads(result[REPORT])
        number = report.pop("trial")
        done = self.guard(lambda: self._study.on_worker_report(number, report))
        if self._study.full_disk() is not None and not self._switch.stopped:
            self._switch.stop()
        return done is not False

    def on_killed_for_memory(self, trial_id: str) -> None:
        """Note an out-of-memory kill; called before `on_trial_complete`, which gets no cause."""
        self._killed_for_memory.add(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        number = self._trials.pop(trial_id, None)
        if not error or number is None or self._study.state.trials[number].ended:
            return
        if trial_id in self._killed_for_memory:
            self.guard(lambda: self._study.on_failed(number, Failure.MEMORY, KILLED_BY_RAY))
        else:
            self.guard(lambda: self._study.on_worker_died(number))

    def guard(self, call: Callable[[], Any]) -> Any:
        """Return the call's result; None if it raised, which stops the run, or an earlier call did."""
        if self.error is not None:
            return None
        try:
            return call()
        except (KaratError, OSError) as error:
            self.error = self.error or error
        except Exception as error:  # noqa: BLE001 - no callback may raise: see the class
            self.error = self.error or KaratError(
                "".join(traceback.format_exception(error)).rstrip()
            )
        self._switch.stop()
        return None

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal has everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the journal has everything."""


class StudyScheduler(FIFOScheduler):
    """Forwards every result to the study and returns its decision to Tune."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._takes_memory_kills = False
        self._is_for_memory = False

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Remove ended trials from Tune's lists, then choose as the base class does.

        Tune would keep each ended trial with its metrics and iterate over all of them in every
        step. Nothing needs them: their results are in the journal.
        """
        if not self._takes_memory_kills:
            self._takes_memory_kills = True
            self._take_memory_kills(tune_controller._actor_manager)
        trials = tune_controller.get_trials()
        ended = [trial for trial in trials if trial.is_finished()]
        for trial in ended:
            trials.remove(trial)
            for group in _ENDED_TRIALS:
                getattr(tune_controller, group).discard(trial)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stop = self._searcher.on_result(result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass an out-of-memory kill to the searcher: Tune tells it no cause."""
        if self._is_for_memory:
            self._searcher.on_killed_for_memory(trial.trial_id)

    def _take_memory_kills(self, manager: Any) -> None:
        """Make Tune's actor manager treat a kill by Ray's memory monitor as the death of an actor.

        It arrives as an `OutOfMemoryError`, which is not a `RayActorError`; Tune does not expect
        it and would abort the run with all its trials.
        """
        take = manager._actor_task_failed

        def taken(tracked_actor_task: Any, exception: Exception) -> None:
            self._is_for_memory = isinstance(exception, OutOfMemoryError)
            if self._is_for_memory:
                exception = RayActorError(error_msg=str(exception))
            take(tracked_actor_task=tracked_actor_task, exception=exception)
            self._is_for_memory = False

        manager._actor_task_failed = taken


class Placed(tune.Callback):
    """Tells the searcher when a trial gets a worker, whether a new process or a reused one."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """Called by Tune in the driver."""
        self._searcher.on_placed(trial.trial_id)


class NoProgress(TrialProgressCallback):
    """Replaces Tune's progress callback, which prints and keeps every trial it has seen."""

    def log_result(self, *_: Any, **__: Any) -> None:
        """Do nothing: `karat.cli.progress` shows the study's progress."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Do nothing, as above."""
