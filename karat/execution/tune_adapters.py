"""The two faces that Ray Tune wants in the driver: a searcher and a scheduler; each only passes on."""

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

# Where Tune's controller keeps trials that have ended, beside the list of all.
_ENDED_TRIALS = ("_stopped_trials", "_failed_trials", "_trials_to_cache")


class Switch(Protocol):
    """What a callback needs of the engine."""

    stopped: bool

    def stop(self) -> None:
        """Make the run end soon."""

    def begun(self) -> None:
        """Called in the main thread, while Tune runs."""


def placement_of(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray reserves for a segment: a bundle for each of its processes, close together."""
    segment = Segment(**json.loads(config["segment"]))
    return tune.PlacementGroupFactory(bundles_of(segment), strategy="PACK")


class StudySearcher(Searcher):
    """Hands the study's segments to Tune, and tells the study of lost workers.

    No exception may leave a callback, since Tune would hang: the first is kept in `error` and
    ends the run.

    Args:
        study: in the driver; never pickled.
        switch: ends the run, and knows whether it is to end.
    """

    def __init__(self, study: Study, switch: Switch) -> None:
        super().__init__()
        self._study, self._switch = study, switch
        self._trials: dict[str, int] = {}
        self._killed_for_memory: set[str] = set()
        self.error: KaratError | OSError | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher, and never gets it back

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
        """Tell the study that a segment's worker is there; on a full cluster it may have waited."""
        if trial_id in self._trials:
            self.guard(lambda: self._study.on_placed(self._trials[trial_id]))

    def on_result(self, result: dict[str, Any]) -> bool:
        """Pass a report on; True if the trial is not to go on."""
        report = json.loads(result[REPORT])
        number = report.pop("trial")
        done = self.guard(lambda: self._study.on_worker_report(number, report))
        if self._study.full_disk() is not None and not self._switch.stopped:
            self._switch.stop()
        return done is not False

    def on_killed_for_memory(self, trial_id: str) -> None:
        """Called before `on_trial_complete`, which is not told of what a worker died."""
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
        """The call's result; None if it failed, which ends the run, or if one before it failed."""
        if self.error is not None:
            return None
        try:
            return call()
        except (KaratError, OSError) as error:
            self.error = self.error or error
        except Exception as error:  # noqa: BLE001 - see the class: none may escape into Tune
            self.error = self.error or KaratError(
                "".join(traceback.format_exception(error)).rstrip()
            )
        self._switch.stop()
        return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal holds it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal holds it all."""


class StudyScheduler(FIFOScheduler):
    """Passes every result to the study, whose decision it returns."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._takes_memory_kills = False
        self._is_for_memory = False

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """As the base class, after Tune has been made to forget trials that have ended.

        It would keep each with its metrics, look at all of them in every step, and never read them
        again: what they came to is in the journal.
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
        """Tell the searcher, which Tune does not tell of what a worker died."""
        if self._is_for_memory:
            self._searcher.on_killed_for_memory(trial.trial_id)

    def _take_memory_kills(self, manager: Any) -> None:
        """Make Tune's actor manager take a kill by Ray's memory monitor for the death of an actor.

        It comes as an `OutOfMemoryError`, which is no `RayActorError`: unexpected, it would end the
        run with all its trials.
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
    """Tells the searcher of each trial that has a worker now: a new process, or one used again."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """Called by Tune in the driver."""
        self._searcher.on_placed(trial.trial_id)


class NoProgress(TrialProgressCallback):
    """In the place of Tune's own, which prints, and keeps every trial that it has seen."""

    def log_result(self, *_: Any, **__: Any) -> None:
        """Nothing: the study's progress is shown by `karat.cli.progress`."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing, as above."""
