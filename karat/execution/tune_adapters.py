"""The searcher, scheduler and callbacks that Ray Tune calls in the driver; they forward to the study.

A trial of Tune is a slot: a worker that stays until the study ends. When it is up, and each time that
its segment has ended, it gets the study's next segment. So no trial waits for the start of a process
while a worker is free, and no segment is started before it has a worker.
"""

import itertools
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from karat.causes import KILLED_BY_RAY, Failure
from karat.errors import KaratError, StudyError
from karat.execution.messages import assignment_of, config_of, report_of
from karat.execution.ray_internals import (
    assign,
    forget_ended_trials,
    free_resources_by,
    kill_worker,
    treat_memory_kills_as_deaths,
)
from karat.execution.release import Release
from karat.study.segments import silence_s
from karat.study.study import Study
from karat.system.process.memory import MemoryKills
from karat.training.segment import Segment

MOST_FAILED_STARTS = 5  # of workers in a row, before any of them reports
# Without a report for the limit of an epoch and this, a worker is killed from outside: its own
# watchdog does not run while its process is stopped, or its machine hangs.
OVERDUE_S = 120.0
SAY_EVERY_S = 300.0  # that no worker has started
log = logging.getLogger(__name__)


class Switch(Protocol):
    """What the callbacks need from the engine."""

    stopped: bool

    def stop(self) -> None:
        """Make the run end soon."""

    def on_tune_started(self) -> None:
        """Called in the main thread while Tune runs: Tune's signal handlers are installed."""


@dataclass
class SlotState:
    """A slot, from the request for its resources to the end of its worker.

    Args:
        number: the lowest, from 0, that no other slot had when it was requested.
        gpus: of its worker, for all its processes together.
        reserved: number of the trial for which it was requested.
        is_up: whether its worker has started.
        trial: number of the trial whose segment it runs; None while it waits.
        was_killed_for_memory: by Ray's memory monitor.
        heard_at: when the slot was requested, its worker started, or its worker reported; on the
            monotonic clock.
        kills: by the kernel, before its segment started; None where they are not known.
    """

    number: int
    gpus: float
    reserved: int
    heard_at: float
    is_up: bool = False
    trial: int | None = None
    was_killed_for_memory: bool = False
    kills: MemoryKills | None = None


class StudySearcher(Searcher):
    """Requests slots while trials wait, assigns segments to them, and tells the study of lost workers.

    No callback may raise, since Tune would hang: the first error is kept in `error` and stops the
    run.

    Args:
        study: the study, which stays in the driver and is never pickled.
        switch: stops the run.
        on_step: called in every step of Tune's loop.
        clock: seconds, monotonic.
        kills: counts the kernel's kills for memory on the machine of all workers; None if they are
            on several.
    """

    def __init__(
        self,
        study: Study,
        switch: Switch,
        on_step: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        kills: Callable[[], MemoryKills] | None = None,
    ) -> None:
        super().__init__()
        self.on_step, self._clock, self._said_at = on_step, clock, clock()
        self._kills = kills
        self._study, self._switch = study, switch
        self._slots: dict[str, SlotState] = {}
        self._failed_starts = 0
        self.error: KaratError | OSError | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher but never restores it

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        return True

    @property
    def is_over(self) -> bool:
        """Whether no segment will be assigned any more."""
        return self._switch.stopped or self._study.finished

    def suggest(self, trial_id: str) -> Any:
        """Request a slot for the next trial that has none."""
        self.on_step()
        self._switch.on_tune_started()
        if self.is_over:
            return Searcher.FINISHED
        reserved = {slot.reserved for slot in self._slots.values() if not slot.is_up}
        trial = self.guard(lambda: self._study.next_trial(reserved))
        if trial is None:
            return Searcher.FINISHED if self.is_over else None
        taken = {slot.number for slot in self._slots.values()}
        slot = SlotState(
            number=next(number for number in itertools.count() if number not in taken),
            gpus=self._study.gpus_of(trial),
            reserved=trial.number,
            heard_at=self._clock(),
        )
        self._slots[trial_id] = slot
        return config_of(self._study.space.resources.bundles(slot.gpus))

    def on_up(self, slot_id: str) -> str:
        """The worker of a slot is up; returns its first assignment."""
        slot = self._slots[slot_id]
        slot.is_up, slot.heard_at = True, self._clock()
        return assignment_of(None if self.is_over else self._next_segment(slot))

    def on_result(self, slot_id: str, result: dict[str, Any]) -> str | None:
        """Forward a report to the study.

        Returns:
            The slot's next assignment; None if it goes on with what it does.
        """
        slot, found = self._slots[slot_id], report_of(result)
        slot.heard_at = self._clock()
        if found is not None:
            self._failed_starts = 0
            number, report = found
            ended = self.guard(lambda: self._study.on_worker_report(number, report))
            if self._study.full_disk() is not None and not self._switch.stopped:
                self._switch.stop()
            if ended is False:
                return None
            slot.trial = None
        segment = None if self.is_over else self._next_segment(slot)
        return None if found is None and segment is None else assignment_of(segment)

    def is_to_end(self, slot_id: str) -> bool:
        """Whether a slot is to end: the study is over, or another slot needs its resources."""
        slot = self._slots[slot_id]
        if slot.trial is not None:
            return False
        if self.is_over:
            return True
        gpus = {each.gpus for each in self._slots.values() if not each.is_up}
        gpus |= {self._study.gpus_of(trial) for trial in self._study.ready()}
        return bool(gpus - {slot.gpus})

    def is_overdue(self, slot_id: str) -> bool:
        """Whether a worker has returned nothing for so long that its process must be killed, told once."""
        slot = self._slots.get(slot_id)
        if slot is None or not slot.is_up:
            return False
        study = self._study
        limit_s = silence_s(study.space, study.state.trials, slot.trial) + OVERDUE_S
        is_overdue = self._clock() - slot.heard_at > limit_s
        if is_overdue:
            slot.heard_at = self._clock()
        return is_overdue

    def say_if_none_starts(self) -> None:
        """Say every few minutes that no worker has started, and what it may wait for."""
        now, slots = self._clock(), self._slots.values()
        oldest = min((slot.heard_at for slot in slots), default=now)
        if any(slot.is_up for slot in slots) or now - max(oldest, self._said_at) < SAY_EVERY_S:
            return
        self._said_at = now
        log.warning(
            "no worker has started for %d minutes: Ray has no room for a trial (%s), or its "
            "processes do not start; the study waits",
            (now - oldest) / 60,
            self._study.space.resources.bundles(min(slot.gpus for slot in slots)),
        )

    def on_killed_for_memory(self, slot_id: str) -> None:
        """Note an out-of-memory kill; called before `on_trial_complete`, which gets no cause."""
        if slot_id in self._slots:
            self._slots[slot_id].was_killed_for_memory = True

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A slot ended, or its worker died. Tune may call this twice."""
        slot = self._slots.pop(trial_id, None)
        if slot is None or not error:
            return
        number = slot.trial
        if number is None:  # it started, or waited for a trial
            self._failed_starts += not slot.is_up
            if self._failed_starts >= MOST_FAILED_STARTS:
                self.guard(_refuse)
        elif slot.was_killed_for_memory:
            self.guard(lambda: self._study.on_failed(number, Failure.MEMORY, KILLED_BY_RAY))
        else:
            by_kernel = self._kernel_has_killed(slot)
            self.guard(lambda: self._study.on_worker_died(number, by_kernel=by_kernel))

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

    def _kernel_has_killed(self, slot: SlotState) -> bool:
        """Whether the kernel has killed a process for memory since the slot's segment started."""
        if self._kills is None or slot.kills is None:
            return False
        return self._kills().has_grown_since(slot.kills)

    def _next_segment(self, slot: SlotState) -> Segment | None:
        slot.kills = self._kills() if self._kills is not None else None
        segment: Segment | None = self.guard(
            lambda: self._study.next_segment(slot.gpus, slot.number)
        )
        slot.trial = None if segment is None else segment.trial
        return segment


class StudyScheduler(FIFOScheduler):
    """Forwards every result to the study, and the next assignment to the worker.

    Args:
        searcher: of the same run.
        is_cluster: whether workers may be on machines that the network cuts off.
    """

    def __init__(self, searcher: StudySearcher, is_cluster: bool = False) -> None:
        super().__init__()
        self._searcher, self._is_cluster = searcher, is_cluster
        self._release: Release | None = None
        self._is_prepared = False
        self._is_memory_kill = False

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Remove ended slots from Tune's lists, then choose as the base class does.

        Tune would keep each with its metrics and iterate over all of them in every step.
        """
        self._searcher.on_step()
        if not self._is_prepared:
            self._is_prepared = True
            treat_memory_kills_as_deaths(tune_controller, self._set_memory_kill)
            if self._is_cluster:
                self._release = free_resources_by(tune_controller, Release)
        if self._release is not None:
            self._release.on_step()
        if self._searcher.is_over:
            for trial in [t for t in tune_controller.get_trials() if t.status == "PENDING"]:
                tune_controller.stop_trial(trial)  # it waits for resources, and nothing for it
        for trial in tune_controller.get_trials():
            if self._searcher.is_overdue(trial.trial_id):
                log.warning("a worker has not answered for too long, and is killed")
                kill_worker(trial)
        self._searcher.say_if_none_starts()
        forget_ended_trials(tune_controller)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        assignment = self._searcher.on_result(trial.trial_id, result)
        if self._searcher.is_to_end(trial.trial_id):
            return str(TrialScheduler.STOP)
        if assignment is not None:
            assign(trial, assignment)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass an out-of-memory kill to the searcher: Tune tells it no cause."""
        if self._is_memory_kill:
            self._searcher.on_killed_for_memory(trial.trial_id)

    def _set_memory_kill(self, is_memory_kill: bool) -> None:
        self._is_memory_kill = is_memory_kill


class FirstAssignment(tune.Callback):
    """Assigns the first segment to a slot whose worker is up."""

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        """Called by Tune in the driver, before it asks the worker for a first result."""
        assign(trial, self._searcher.on_up(trial.trial_id))


class NoProgress(TrialProgressCallback):
    """Replaces Tune's progress callback, which prints and keeps every trial it has seen."""

    def log_result(self, *_: Any, **__: Any) -> None:
        """Do nothing: `karat.cli.progress` shows the study's progress."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Do nothing, as above."""


def _refuse() -> None:
    raise StudyError(
        f"{MOST_FAILED_STARTS} worker processes in a row ended while they started: see the logs of "
        "Ray (worker-*.err) on their nodes; karat doctor checks this machine"
    )
