"""The searcher, scheduler and callbacks that Ray Tune calls in the driver; they forward to the study."""

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from karat.causes import KILLED_BY_RAY, Failure
from karat.errors import KaratError
from karat.execution.messages import config_of, report_of
from karat.execution.ray_internals import forget_ended_trials, treat_memory_kills_as_deaths
from karat.study.study import Study


class Switch(Protocol):
    """What the callbacks need from the engine."""

    stopped: bool

    def stop(self) -> None:
        """Make the run end soon."""

    def begun(self) -> None:
        """Called in the main thread while Tune runs: Tune's signal handlers are installed."""


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
        return config_of(segment)

    def on_placed(self, trial_id: str) -> None:
        """Tell the study that a segment has a worker; on a full cluster the segment may have waited."""
        if trial_id in self._trials:
            self.guard(lambda: self._study.on_placed(self._trials[trial_id]))

    def on_result(self, result: dict[str, Any]) -> bool:
        """Forward a report to the study; return True if the trial is to stop."""
        number, report = report_of(result)
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
        self._is_prepared = False
        self._is_memory_kill = False

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Remove ended trials from Tune's lists, then choose as the base class does.

        Tune would keep each ended trial with its metrics and iterate over all of them in every
        step. Nothing needs them: their results are in the journal.
        """
        if not self._is_prepared:
            self._is_prepared = True
            treat_memory_kills_as_deaths(tune_controller, self._set_memory_kill)
        forget_ended_trials(tune_controller)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stop = self._searcher.on_result(result)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass an out-of-memory kill to the searcher: Tune tells it no cause."""
        if self._is_memory_kill:
            self._searcher.on_killed_for_memory(trial.trial_id)

    def _set_memory_kill(self, is_memory_kill: bool) -> None:
        self._is_memory_kill = is_memory_kill


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
