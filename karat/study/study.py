"""The study: asks the plan, takes what the trials report, and writes every step to the journal.

Nothing here knows Ray. An engine calls `next_segment` when it has room, and `on_worker_report`,
`on_worker_died` or `on_interrupted` when a segment has something to say. Every change
goes through `record`: first to disk, then into the state, the plan and the early stopping, so
that folding the journal of a killed study leads to the same place.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from karat.journal.journal import Event, Journal
from karat.journal.layout import HANG_TRACE, PAUSE_FILE, trial_folder
from karat.journal.state import BACK_OFF_S, StudyState, Trial
from karat.journal.usage import DRIVER_GONE
from karat.planning.budget import first_spent, too_little_left
from karat.planning.decisions import MAX_LOST_SEGMENTS, Decisions
from karat.planning.extension import changes_between, longer
from karat.planning.plans.confirmation import rank
from karat.space.space import Space
from karat.study.retention import ROOM, by_arm
from karat.system import fault_injection
from karat.system.disk_quota import GB, DiskBudget
from karat.training.checkpoint import drop_half_written, keep_newest, last_state
from karat.training.segment import Estimate, Segment

MAX_UNWRITTEN = 2  # trials in a row; more of them would only fail too
WORKER_DIED = "its worker process died"
Listener = Callable[[Event, StudyState], None]


class Study:
    """A study on disk, resumed by folding its journal.

    Args:
        space: the question as it was when the study began; extensions follow from the journal.
        journal: open for writing; its past is folded here.
        folder: the study's.
        clock: seconds since the epoch.
    """

    def __init__(
        self, space: Space, journal: Journal, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._journal, self.folder, self._clock = journal, folder, clock
        self.decisions = Decisions(space, str(folder))
        self.listeners: list[Listener] = []
        self._unwritten: list[str] = []  # why the last to end in this launch could not be kept
        self.estimate: Callable[[Trial], Estimate | None] = lambda _: None
        for event in journal.past:
            self.decisions.observe(event)
        self.state.spending.leave()  # that launch was another process
        self._recover()

    # -- what an engine asks ------------------------------------------------------------------

    @property
    def state(self) -> StudyState:
        """What the journal says."""
        return self.decisions.state

    @property
    def space(self) -> Space:
        """The question as it is now."""
        return self.decisions.space

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return self.decisions.finished

    def spent(self) -> str | None:
        """Which limit of the budget is reached, as a phrase; None if none is."""
        return first_spent(self.space, self.state, self._clock())

    def full_disk(self) -> str | None:
        """Why no checkpoint can be written any more, as a phrase; None if that is not so."""
        if len(self._unwritten) < MAX_UNWRITTEN:
            return None
        return (
            f"checkpoints of {len(self._unwritten)} trials in a row could not be written, the last: "
            f"{self._unwritten[-1]}"
        )

    def next_segment(self, *, placed: bool = True) -> Segment | None:
        """What to run next, written to the journal; None if there is nothing to run now.

        Args:
            placed: whether it runs at once; if not, `on_placed` tells when its worker has its place.
        """
        if self.finished or self.spent() is not None or self.full_disk() is not None:
            return None
        now = self._clock()
        waiting = (t for t in self.state.trials.values() if t.status == "waiting")
        # A longer wait than there is means that the clock was set back.
        longest = BACK_OFF_S[-1]
        trial = next((t for t in waiting if not 0 < t.ready_at - now <= longest), None)
        if trial is None:
            trial = self._ask()
        if trial is None:
            return None
        folder = trial_folder(self.folder, trial.number)
        hang_trace = folder / HANG_TRACE
        hang_trace.unlink(missing_ok=True)
        reported = trial.reports[-1].epoch if trial.reports else 0
        from_epoch, passed_over = last_state(folder, reported, trial.fingerprint)
        resources, estimate = self.space.resources, self.estimate(trial)
        gpus = estimate.gpus if estimate else None
        self.record(
            "segment_started",
            trial=trial.number,
            segment=trial.segments,
            from_epoch=from_epoch,
            micro_batches=trial.micro_batches,
            **({"passed_over": passed_over} if passed_over else {}),
            **({"processes": resources.num_processes} if resources.num_processes > 1 else {}),
            **({"estimate": dataclasses.asdict(estimate)} if estimate else {}),
            **({"gpus": gpus} if gpus is not None else {}),
            **({} if placed else {"placed": False}),
        )
        return Segment(
            trial=trial.number,
            config=trial.config,
            seed=trial.seed,
            folder=str(folder),
            owner=trial.fingerprint,
            pause_file=str(self.folder / PAUSE_FILE),
            hang_trace=str(hang_trace),
            from_epoch=from_epoch,
            test_at_end=trial.phase == "confirm",
            metric=self.space.search.metric,
            mode=self.space.search.mode,
            threads=resources.cpus,
            processes=resources.num_processes,
            gpus=resources.gpus_at_most if gpus is None else gpus,
            micro_batches=trial.micro_batches,
            limit_s=60 * resources.minutes_per_epoch,
            disk_folder=str(self.folder),
            disk_gb=resources.disk_gb,
        )

    # -- what an engine tells -----------------------------------------------------------------

    def on_placed(self, number: int) -> None:
        """A trial's segment, which may have waited for room, has a worker, and is paid for from now."""
        self.record("segment_placed", trial=number, segment=self.state.trials[number].segments - 1)

    def on_worker_report(self, number: int, report: Mapping[str, Any]) -> bool:
        """Take in what a `karat.training.worker` reports; True if its segment is not to go on."""
        if "failed" in report:
            self.on_failed(number, report["failed"], report["cause"])
            return True
        if "paused" in report:
            epoch, step = report["paused"]["epoch"], report["paused"]["step"]
            where = (
                f"within epoch {epoch + 1}, after step {step}" if step else f"after epoch {epoch}"
            )
            self._end_segment(self.state.trials[number], "interrupted", f"paused {where}")
            return True
        return self.on_report(
            number,
            report["epoch"],
            report["metrics"],
            report["seconds"],
            report.get("kernels"),
            report.get("peak_bytes"),
        )

    def on_report(
        self,
        number: int,
        epoch: int,
        metrics: Mapping[str, float],
        seconds: float,
        kernels: Sequence[str] | None = None,
        peak_bytes: int | None = None,
    ) -> bool:
        """A trial did an epoch; True if it is not to go on, since it is complete or stopped.

        The first report of a segment tells which kernels compute attention where it runs, and the
        highest memory of its process.
        """
        trial = self.state.trials[number]
        metric = self.space.search.metric
        if metric not in metrics:
            self._fail(trial, f"{metric} is missing at epoch {epoch}", "error")
            return True
        for name, value in metrics.items():
            if not math.isfinite(value):
                self._fail(trial, f"{name} is {value} at epoch {epoch}", "non-finite")
                return True
        more: dict[str, Any] = {} if kernels is None else {"kernels": list(kernels)}
        more |= {} if peak_bytes is None else {"peak_bytes": peak_bytes}
        self.record(
            "reported",
            trial=number,
            segment=trial.segments - 1,
            epoch=epoch,
            metrics=dict(metrics),
            seconds=round(seconds, 4),
            **more,
        )
        return self._settle(trial)

    def on_failed(self, number: int, reason: str, cause: str = "error") -> None:
        """A trial cannot go on, for a reason that another attempt would not change.

        Out of memory it is tried once more, in two parts of a batch.

        Args:
            number: the trial's.
            reason: in words.
            cause: as `karat.training.worker` has them, `lost` or `hung`.
        """
        trial = self.state.trials[number]
        if cause == "lost":
            self.on_lost(number, reason)
        elif self.decisions.is_tried_again(number, cause):
            self._end_segment(trial, cause, reason)
        elif cause == "checkpoint" and self.full_disk() is not None:
            self._end_segment(trial, "interrupted", reason)  # it goes on when there is room
        else:
            self._fail(trial, reason, cause)

    def on_lost(self, number: int, detail: str) -> None:
        """A segment's worker is gone; the trial goes on in another, unless that happened too often."""
        trial = self.state.trials[number]
        self._end_segment(trial, "lost", detail)
        if not self.decisions.is_tried_again(number, "lost"):
            self._give_up(trial)

    def on_worker_died(self, number: int) -> None:
        """A worker is gone: it ended itself, having hung too long, or something else ended it."""
        trace = trial_folder(self.folder, number) / HANG_TRACE
        if trace.is_file() and trace.stat().st_size:
            minutes = f"{self.space.resources.minutes_per_epoch:g} minutes"
            reason = f"reported nothing for {minutes}; where it hung: {trace}"
            self.on_failed(number, reason, "hung")
        else:
            self.on_lost(number, WORKER_DIED)

    def on_interrupted(self, signal: str) -> None:
        """The study is to leave off; the next launch carries on what runs.

        Args:
            signal: its name; `budget` where that is spent, `disk` where nothing can be written.
        """
        for trial in self.state.trials.values():
            if trial.status == "running":
                self._end_segment(trial, "interrupted", signal)
        reason = {"budget": self.spent, "disk": self.full_disk}.get(signal, lambda: None)()
        self.record("interrupted", signal=signal, **({"reason": reason} if reason else {}))

    def record(self, kind: str, **data: Any) -> None:
        """Write an event, then let it take effect."""
        fault_injection.at(f"{kind}.before")
        event = self._journal.append(kind, **data)
        fault_injection.at(f"{kind}.written")
        self.decisions.observe(event)
        if kind == "trial_ended":
            self._tidy(self.state.trials[data["trial"]])
            is_unwritten = data.get("cause") == "checkpoint"
            self._unwritten = [*self._unwritten, data["reason"]] if is_unwritten else []
        for listener in self.listeners:
            listener(event, self.state)
        fault_injection.at(f"{kind}.after")

    def extend(
        self, space: Space, description: Mapping[str, Any], *, by: str, asked: Mapping[str, Any]
    ) -> None:
        """Go on with a larger question (`karat.planning.extension`).

        Trials shorter than trials are now are set aside: they end where they are, and to the
        sampler they are trials that were stopped.

        Args:
            space: the larger question.
            description: of the study with it, as `study_created` has it.
            by: what the user did.
            asked: the source of the space file, which `--extend` has made larger.
        """
        aside: list[Trial] = []
        if longer(self.space, space):
            aside = [trial for trial in self.state.trials.values() if not trial.set_aside]
        self.record(
            "study_extended",
            by=by,
            changes=[str(change) for change in changes_between(self.space, space)],
            set_aside=[trial.number for trial in aside],
            asked=asked,
            description=description,
        )
        for trial in aside:
            if not trial.ended:
                self._settle(trial)
        self._advance()

    # -- inside -------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Finish what a kill cut short: verdicts not yet written, segments not yet ended."""
        for trial in list(self.state.trials.values()):
            if trial.ended:
                self._tidy(trial)
            if trial.ended or self._settle(trial):
                continue
            if trial.status == "running":
                self._end_segment(trial, "interrupted", DRIVER_GONE)
            elif not self.decisions.is_tried_again(trial.number, "lost"):
                self._give_up(trial)
        if self.state.created:
            self._advance()

    def _give_up(self, trial: Trial) -> None:
        reason = f"its worker was lost {MAX_LOST_SEGMENTS + 1} times"
        if trial.lost_detail not in ("", WORKER_DIED):
            reason += f"; the last time: {trial.lost_detail}"
        self._fail(trial, reason, "lost")

    def _fail(self, trial: Trial, reason: str, cause: str) -> None:
        self.record("trial_ended", trial=trial.number, status="failed", reason=reason, cause=cause)
        self._advance()

    def _tidy(self, trial: Trial) -> None:
        """Keep the best weights of a completed trial, none of a stopped one, all of a failed one."""
        folder = trial_folder(self.folder, trial.number)
        drop_half_written(folder)
        if trial.status == "completed":
            best = 0 if trial.weights_dropped else 1
            keep_newest(folder, epoch=0, within=0, best=best)
        elif trial.status == "stopped":
            keep_newest(folder, epoch=0, within=0, best=0)

    def _make_room(self) -> None:
        """With half of the disk budget used, drop weights of search trials that cannot be confirmed."""
        limit = self.space.resources.disk_gb
        if limit is None or DiskBudget(self.folder, limit).used() < ROOM * limit * GB:
            return
        done = [
            trial
            for trial in self.state.of_phase("search")
            if trial.status == "completed" and not trial.weights_dropped
        ]
        best = {min(each, key=lambda t: rank(t, self.space)).number for each in by_arm(done)}
        dropped = [trial for trial in done if trial.number not in best]
        if dropped:
            self.record("weights_dropped", trials=[trial.number for trial in dropped])
            for trial in dropped:
                self._tidy(trial)

    def _end_segment(self, trial: Trial, cause: str, detail: str) -> None:
        self.record(
            "segment_ended",
            trial=trial.number,
            segment=trial.segments - 1,
            cause=cause,
            detail=detail,
        )

    def _settle(self, trial: Trial) -> bool:
        verdict = self.decisions.verdict(trial.number)
        if verdict is None:
            return False
        if verdict == "completed":
            reason = ""
        elif trial.set_aside:
            reason = "the study was extended to longer trials"
        else:
            reason = f"early stopping at epoch {trial.reports[-1].epoch}"
        self.record("trial_ended", trial=trial.number, status=verdict, reason=reason)
        self._make_room()
        self._advance()
        return True

    def _ask(self) -> Trial | None:
        if not self.decisions.search_is_over:
            reason = too_little_left(self.space, self.state, self._clock())
            if reason is not None:
                self.record("search_cut", reason=reason)
                self._advance()
        data = self.decisions.proposal()
        if data is None:
            return None
        self.record("trial_asked", **data)
        return self.state.trials[data["trial"]]

    def _advance(self) -> None:
        """Go from the search to the confirmation, and from there to the end, when it is time."""
        while (turn := self.decisions.turn()) is not None:
            kind, data = turn
            self.record(kind, **data)
