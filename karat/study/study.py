"""The study: asks the plan for trials, handles their reports, and records every step in the journal.

Independent of Ray. An engine calls `next_segment` when a slot is free, and `on_worker_report`,
`on_worker_died` or `on_interrupted` when something happens to a segment. Every change goes
through `record`: first to disk, then to the state, the plan and the early stopping. Folding the
journal of a killed study therefore gives the same state.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from karat.causes import Details, Failure, Interrupt, SearchCut, SegmentEnd
from karat.journal.journal import Journal
from karat.journal.layout import HANG_TRACE, trial_folder
from karat.journal.state import BACK_OFF_S, StudyState
from karat.journal.trial import Trial
from karat.planning.budget import first_spent, too_little_left
from karat.planning.constraints import MemoryOf, broken_by, costs_for
from karat.planning.data_place import space_at
from karat.planning.decisions import MAX_LOST_SEGMENTS, Decisions
from karat.planning.extension import changes_between, longer
from karat.space.space import Space
from karat.study.listeners import Listeners
from karat.study.measurements import MAY_REPORT, death_of, fault_of
from karat.study.retention import making_room, tidy
from karat.study.segments import segment_for, start_of
from karat.system import fault_injection
from karat.training.checkpoint import last_state
from karat.training.segment import Estimate, Segment

MAX_UNWRITTEN = 2  # segments in a row that could not write a checkpoint; others would not either


class Study:
    """A study on disk, resumed by folding its journal.

    Args:
        space: the question as it was when the study began; extensions follow from the journal.
        journal: open for writing; the study folds its past events.
        folder: of the study.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self, space: Space, journal: Journal, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self.journal, self.folder, self._clock = journal, folder, clock
        self.decisions = Decisions(space, str(folder))
        self.listeners = Listeners()
        self.lock = threading.RLock()  # held while an event is recorded
        # Of segments of this launch that could not write a checkpoint, since one could.
        self._unwritten: list[Details] = []
        self.estimate: Callable[[Trial], Estimate | None] = lambda _: None
        # Forecast in units of 2^20 bytes, for constraints on memory.
        self.memory_of: MemoryOf = lambda _: None
        self.data_place: Mapping[str, Any] = {}  # of the data now, if not where it lay
        self.last_state = last_state  # a simulated study has no checkpoints
        for event in journal.past:
            self.decisions.observe(event)
        self.state.usage.end_launch()  # the last launch of the journal was another process
        self._recover()

    # -- called by an engine to get work ------------------------------------------------------------------

    @property
    def state(self) -> StudyState:
        """The state folded from the journal."""
        return self.decisions.state

    @property
    def space(self) -> Space:
        """The search space, with all extensions so far."""
        return self.decisions.space

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return self.decisions.finished

    def spent(self) -> Details | None:
        """Details of `Interrupt.BUDGET` for a limit of the budget that is reached; None if none is."""
        return first_spent(self.space, self.state, self._clock())

    def full_disk(self) -> Details | None:
        """Details of `Interrupt.DISK` if checkpoints cannot be written any more; else None."""
        if len(self._unwritten) < MAX_UNWRITTEN:
            return None
        return {"trials": len(self._unwritten), "last": self._unwritten[-1]}

    def next_trial(self, reserved: Collection[int] = ()) -> Trial | None:
        """The trial to run next, asked for if none waits; None if there is nothing to run now.

        Args:
            reserved: trials to leave out, since workers for them are about to start.
        """
        if self.finished or self.spent() is not None or self.full_disk() is not None:
            return None
        ready = (trial for trial in self.ready() if trial.number not in reserved)
        return next(ready, None) or self._ask()

    def gpus_of(self, trial: Trial) -> float:
        """GPUs that a trial needs, for all its processes together."""
        estimate = self.estimate(trial)
        if estimate is None or estimate.gpus is None:
            return self.space.resources.gpus_at_most
        return estimate.gpus

    def next_segment(self, gpus: float | None = None, slot: int | None = None) -> Segment | None:
        """The next segment to run, recorded in the journal; None if there is nothing to run now.

        Args:
            gpus: of the worker that is to run it; None for a trial that needs any number.
            slot: number of the slot that is to run it; None where there are no slots.
        """
        trial = self.next_trial()
        if gpus is not None and trial is not None:
            # The first that fits; a worker with other resources takes those before it.
            fitting = (each for each in self.ready() if self.gpus_of(each) == gpus)
            trial = next(fitting, None)
        return None if trial is None else self._start(trial, slot)

    def ready(self) -> Iterator[Trial]:
        """Trials that wait, and whose back-off after a lost worker is over."""
        now = self._clock()
        for number in sorted(self.state.waiting):
            trial = self.state.trials[number]
            if self.decisions.waits(number):
                continue
            # A wait longer than the longest back-off means that the clock was set back.
            if not 0 < trial.ready_at - now <= BACK_OFF_S[-1]:
                yield trial

    def _start(self, trial: Trial, slot: int | None) -> Segment:
        folder = trial_folder(self.folder, trial.number)
        (folder / HANG_TRACE).unlink(missing_ok=True)
        reported = trial.reports[-1].epoch if trial.reports else 0
        from_epoch, passed_over = self.last_state(folder, reported, trial.fingerprint)
        estimate, resources = self.estimate(trial), self.space.resources
        processes, threads = resources.num_processes, resources.cpus
        start = start_of(trial, from_epoch, passed_over, slot, estimate, processes, threads)
        self.record("segment_started", **start)
        gpus, data = self.gpus_of(trial), self.state.created.get("data", {})
        space = space_at(self.space, self.data_place)
        return segment_for(trial, space, self.folder, data, from_epoch=from_epoch, gpus=gpus)

    # -- called by an engine to report -----------------------------------------------------------------

    def on_worker_report(self, number: int, report: Mapping[str, Any]) -> bool:
        """Handle a report of `karat.training.worker`; returns True if its segment must end."""
        if "failed" in report:
            self.on_failed(number, report["failed"], report["details"])
            return True
        if "paused" in report:
            self._end_segment(self.state.trials[number], SegmentEnd.PAUSED, report["paused"])
            return True
        return self.on_report(
            number,
            report["epoch"],
            report["metrics"],
            report["seconds"],
            **{key: report[key] for key in MAY_REPORT if report.get(key) is not None},
        )

    def on_report(
        self,
        number: int,
        epoch: int,
        metrics: Mapping[str, float],
        seconds: float,
        **more: Any,
    ) -> bool:
        """Handle a finished epoch; returns True if the trial ended: complete, stopped or failed.

        Args:
            number: of the trial.
            epoch: epochs done, from 1.
            metrics, seconds: of the epoch.
            more: in a segment's first report `kernels`, `computed`, `peak_bytes`, `images` and `loading` (attention
                kernels, how steps are computed, peak memory, images in each split, seconds of a step and of waiting
                for its batch); in the last one of a trial that is tested `tested` (`karat.tested.Tested`), `scores`
                and `shifted` (`karat.training.testing`), and `snapshots` (epochs whose weights it keeps); in all that are
                watched `health` (`karat.training.watching.health`).
        """
        trial = self.state.trials[number]
        if fault := fault_of(metrics, self.space.search.metric, epoch):
            self._fail(trial, *fault)
            return True
        assert more.keys() <= set(MAY_REPORT)
        self.record(
            "reported",
            trial=number,
            segment=trial.segments - 1,
            epoch=epoch,
            metrics=dict(metrics),
            seconds=round(seconds, 4),
            **more,
        )
        if self._settle(trial):
            return True
        if is_held := self.decisions.waits(number):
            self._end_segment(trial, SegmentEnd.HELD)
        if self.decisions.due is not None:  # trials that were held, and that the report rejects
            self._advance()
        return is_held

    def on_failed(self, number: int, cause: str, details: Mapping[str, Any]) -> None:
        """A segment failed: try the trial again, or end it as failed.

        A lost worker is retried up to `MAX_LOST_SEGMENTS` times, a file that cannot be written as
        often since the last report, out of memory once, in micro-batches, and no other cause.

        Args:
            number: of the trial.
            cause: one of `karat.causes.Failure`.
            details: of the cause.
        """
        trial = self.state.trials[number]
        if cause == Failure.LOST:
            self._on_lost(trial, details)
        elif self.decisions.is_tried_again(number, cause):
            self._end_segment(trial, SegmentEnd(cause), details)
        elif cause == Failure.CHECKPOINT and trial.unwritten_segments < MAX_LOST_SEGMENTS:
            # The disk's trouble, not the trial's: it resumes when files can be written again.
            self._unwritten.append(dict(details))
            self._end_segment(trial, SegmentEnd.CHECKPOINT, details)
            self._make_room(is_full=True)
        else:
            self._fail(trial, Failure(cause), details)

    def on_worker_died(self, number: int, *, by_kernel: bool = False) -> None:
        """A worker process died; `by_kernel`: the kernel has killed one for memory meanwhile."""
        trace = trial_folder(self.folder, number) / HANG_TRACE
        minutes = self.space.resources.minutes_per_epoch
        self.on_failed(number, *death_of(trace, minutes, by_kernel=by_kernel))

    def on_interrupted(self, signal: str | None) -> None:
        """The launch ends before the study does; the next one resumes the running trials.

        Args:
            signal: its name; None if the disk is full or the budget is spent.
        """
        self._interrupt(*self._interrupt_cause(signal))

    def on_trouble_of_ray(self, details: Mapping[str, Any]) -> None:
        """As `on_interrupted`, when Ray has ended or hangs; `details` as in `Interrupt.RAY`."""
        self._interrupt(Interrupt.RAY, dict(details))

    def _interrupt(self, cause: Interrupt, details: Details) -> None:
        by = details if cause == Interrupt.SIGNAL else {}
        for trial in self.state.trials.values():
            if trial.status == "running":
                self._end_segment(trial, SegmentEnd.INTERRUPTED, {"by": cause.value, **by})
        self.record("interrupted", cause=cause.value, details=details)

    def record(self, kind: str, **data: Any) -> None:
        """Write an event to disk, then apply it and call the listeners."""
        with self.lock:
            self._record(kind, data)

    def _record(self, kind: str, data: Details) -> None:
        fault_injection.at(f"{kind}.before")
        event = self.journal.append(kind, **data)
        fault_injection.at(f"{kind}.written")
        self.decisions.observe(event)
        if kind == "reported":
            self._unwritten.clear()  # before a worker reports, it writes a checkpoint
        elif kind == "trial_ended":
            tidy(self.folder, self.state.trials[data["trial"]])
        self.listeners.tell(event, self.state)
        fault_injection.at(f"{kind}.after")

    def extend(
        self,
        space: Space,
        description: Mapping[str, Any],
        *,
        extend: Sequence[str],
        asked: Mapping[str, Any],
    ) -> None:
        """Extend the study to a larger space (`karat.planning.extension`).

        If trials are longer in the larger space, all trials so far are set aside: they end where
        they are, and count as stopped for the sampler.

        Args:
            space: the larger space.
            description: of the extended study, as in `study_created`.
            extend: values of `--extend`; empty if the space file was changed.
            asked: source of the space file, with `--extend` applied.
        """
        is_longer, trials = longer(self.space, space), self.state.trials.values()
        aside = [trial for trial in trials if is_longer and not trial.set_aside]
        self.record(
            "study_extended",
            extend=list(extend),
            changes=[str(change) for change in changes_between(self.space, space)],
            set_aside=[trial.number for trial in aside],
            asked=asked,
            description=description,
        )
        for trial in aside:
            if not trial.ended:
                self._settle(trial)
        self._advance()

    def _recover(self) -> None:
        """Complete what a killed driver did not record: verdicts, and ends of segments."""
        for trial in list(self.state.trials.values()):
            if trial.ended:
                tidy(self.folder, trial)
            if trial.ended or self._settle(trial):
                continue
            if trial.status == "running":
                self._end_segment(trial, SegmentEnd.DRIVER_GONE)
            elif not self.decisions.is_tried_again(trial.number, Failure.LOST):
                self._give_up(trial)
        if self.state.created:
            self._advance()

    def _interrupt_cause(self, signal: str | None) -> tuple[Interrupt, Details]:
        """Cause and details of the event `interrupted`."""
        if signal is None and (details := self.full_disk()):
            return Interrupt.DISK, details
        if signal is None and (details := self.spent()):
            return Interrupt.BUDGET, details
        # Only SIGUSR1 can arrive unseen by our handler, since Tune replaces that for a moment.
        return Interrupt.SIGNAL, {"signal": signal or "SIGUSR1"}

    def _on_lost(self, trial: Trial, details: Mapping[str, Any]) -> None:
        self._end_segment(trial, SegmentEnd.LOST, details)
        if not self.decisions.is_tried_again(trial.number, Failure.LOST):
            self._give_up(trial)

    def _give_up(self, trial: Trial) -> None:
        last = dict(trial.lost_details)
        self._fail(trial, Failure.LOST, {"times": MAX_LOST_SEGMENTS + 1, "last": last})

    def _fail(self, trial: Trial, cause: Failure, details: Mapping[str, Any]) -> None:
        more = {"details": dict(details)} if details else {}
        self.record("trial_ended", trial=trial.number, status="failed", cause=cause.value, **more)
        self._advance()

    def _make_room(self, *, is_full: bool = False) -> None:
        """Delete weights that no confirmation needs when the disk budget runs low."""
        for kind, dropped in making_room(self.space, self.state, self.folder, is_full=is_full):
            self.record(kind, trials=[trial.number for trial in dropped])
            for trial in dropped:
                tidy(self.folder, trial)

    def _end_segment(
        self, trial: Trial, cause: SegmentEnd, details: Mapping[str, Any] | None = None
    ) -> None:
        more = {"details": dict(details)} if details else {}
        number, segment = trial.number, trial.segments - 1
        self.record("segment_ended", trial=number, segment=segment, cause=cause.value, **more)

    def _settle(self, trial: Trial) -> bool:
        verdict = self.decisions.verdict(trial.number)
        if verdict is None:
            return False
        self._conclude(trial.number, verdict)
        self._make_room()
        self._advance()
        return True

    def _conclude(self, number: int, verdict: str) -> None:
        self.record("trial_ended", **self.decisions.end_of(number, verdict))

    def _ask(self) -> Trial | None:
        if not self.decisions.search_is_over:
            details = too_little_left(self.space, self.state, self._clock())
            if details is not None:
                self.record("search_cut", cause=SearchCut.BUDGET.value, details=details)
                self._advance()
        while (data := self.decisions.proposal()) is not None:
            broken = broken_by(self.space, data, self.data_place, self.memory_of)
            if broken is None:
                costs = costs_for(self.space, data, self.data_place)
                self.record("trial_asked", **data, **costs)
                return self.state.trials[data["trial"]]
            self.record("trial_ruled_out", **self.decisions.ruled_out(data, *broken))
            self._advance()
        return None

    def _advance(self) -> None:
        """End the trials that are due, then start the confirmation or end the study if nothing is left."""
        while (due := self.decisions.due) is not None:
            self._conclude(*due)
        while (turn := self.decisions.turn()) is not None:
            kind, data = turn
            self.record(kind, **data)
