"""What a study's journal says of its trials, launches and extensions; `StudyState` folds them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from karat.constraints import EPOCH_S, MEMORY, OF_CONFIGURATION, Constraint, Relation
from karat.journal.reports import Reports

Status = Literal["running", "waiting", "completed", "stopped", "failed"]
Phase = Literal["search", "shortlist", "confirm"]
PHASES: tuple[Phase, ...] = get_args(Phase)  # in the order in which they are run


@dataclass(slots=True)
class Trial:
    """One configuration with one seed, its progress and its result.

    Status `waiting`: no segment of the trial runs now, since it is new, its worker was lost, it
    will be retried with less memory, or the study was interrupted. Such a trial must not run before
    `ready_at`. `tuning`: number of the independent tuning of its arm to which it belongs, from 0; `budget`: the multiple of
    the study's epochs that it is trained for.
    `kernels` computed attention in the first segment (None before its first report), and `computed` says how
    its steps were computed (`karat.training.Trainer.computed`; None where the journal does not).
    `cause` and `details` tell why the trial was stopped or failed (`karat.causes`), `lost_details`
    how its last worker was lost. `unwritten_segments` ended since its last report, since a file could not
    be written. `set_aside`: an extension of the study made the trial invalid,
    since it is shorter than trials are now or of a cell that is no longer confirmed.
    `weights_dropped`: its best weights were deleted to free disk space. `snapshots`: epochs whose weights a
    completed run keeps (`training.keep_checkpoints`); `snapshots_dropped`: they were deleted since. `health`: of the attention of each block and
    head in its last report (`karat.training.watching.health`), where it was looked at. `estimate`: predicted
    resources (`karat.training.segment.Estimate`). `audited`: it goes on where early stopping stops it;
    if it did, it has the cause `Audit.FINISHED_ANYWAY`. `peak_bytes`: peak memory of the process after the
    first epoch of the first segment. `loading`: there, mean seconds of a step (`step_s`) and of waiting for its images
    (`data_s`), and size of the memory map (`map_bytes`). `threads`: CPU threads of each process in the last segment.
    `costs`: parameters and multiply-adds of its model, where a goal or the report needs them.
    `tested`: what the test evaluation found, image by image, as `karat.tested.Tested.read` takes it; `scores` and
    `shifted`: its scores, and those on corrupted images (`karat.training.testing`); None in older journals.
    """

    number: int
    phase: Phase
    arm: str
    factors: Mapping[str, Any]
    tuned: Mapping[str, Any]
    config: Mapping[str, Any]
    seed: int
    seed_index: int
    epochs: int
    asked_at: float
    tuning: int = 0
    budget: int = 1
    status: Status = "waiting"
    cause: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    segments: int = 0
    lost_segments: int = 0
    lost_details: Mapping[str, Any] = field(default_factory=dict)
    unwritten_segments: int = 0
    micro_batches: int = 1
    ready_at: float = 0.0
    set_aside: bool = False
    weights_dropped: bool = False
    snapshots: tuple[int, ...] = ()
    snapshots_dropped: bool = False
    reports: Reports = field(default_factory=Reports)
    kernels: tuple[str, ...] | None = None
    computed: Mapping[str, Any] | None = None
    estimate: Mapping[str, Any] | None = None
    peak_bytes: int | None = None
    threads: int | None = None
    loading: Mapping[str, float] | None = None
    tested: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None
    shifted: Mapping[str, Any] | None = None
    ended_at: float | None = None
    audited: bool = False
    health: Mapping[str, Any] | None = None
    costs: Mapping[str, int] = field(default_factory=dict)
    _fingerprint: str = field(default="", init=False, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "stopped", "failed")

    @property
    def fingerprint(self) -> str:
        """Hash of configuration and seed, stored in checkpoints to identify their trial."""
        if not self._fingerprint:
            text = json.dumps([self.config, self.seed], sort_keys=True)
            self._fingerprint = hashlib.sha256(text.encode()).hexdigest()[:32]
        return self._fingerprint

    @property
    def seconds(self) -> float:
        """Seconds spent training, over all its epochs."""
        return self.reports.total_seconds

    def goal(self, metric: str) -> float | None:
        """What it reached so far in a goal (`karat.goals.GOOD`); None where that is not known."""
        if metric in OF_CONFIGURATION:
            return self.costs.get(metric)
        if metric == MEMORY:
            return None if self.peak_bytes is None else self.peak_bytes / 2**20
        if metric == EPOCH_S:
            return self.seconds / len(self.reports) if self.reports else None
        return self.last(metric)

    def last(self, metric: str) -> float | None:
        """The metric at the last epoch that reported it."""
        return self.reports.last(metric)

    def of_kept_weights(self, metric: str) -> float | None:
        """The metric at the epoch whose weights were tested; at the last one if none were."""
        if self.tested is None:
            return self.last(metric)
        epoch = self.tested["epoch"]
        own = (report for report in reversed(self.reports) if report.epoch == epoch)
        return next((report.metrics.get(metric) for report in own), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledOut:
    """A proposal of the search that was not trained, since it breaks a constraint that is known before.

    Args:
        arm, factors, tuned: as those of a trial.
        tuning: number of the independent tuning, from 0.
        metric, relation, limit: of the constraint.
        value: that breaks it.
        given_up: whether its place in the search stays empty; else the sampler proposed something else for it.
        before: number of the trials that were asked for before.
    """

    arm: str
    factors: Mapping[str, Any]
    tuned: Mapping[str, Any]
    metric: str
    relation: Relation
    limit: float
    value: float
    before: int
    tuning: int = 0
    given_up: bool = False

    @property
    def constraint(self) -> Constraint:
        """The one that it breaks."""
        return Constraint(self.metric, self.relation, self.limit)


@dataclass(frozen=True, slots=True)
class Launch:
    """One start of the driver: its time, number of slots (concurrent trials), and environment.

    A cluster may grow: `slots` is the number at the start, or the most segments placed at once since.
    """

    time: float
    slots: int
    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension of the study: its time, the changed settings, and whether the study was completed.

    `extend` has the values of `--extend`; it is empty if the space file was changed.
    """

    time: float
    extend: tuple[str, ...]
    changes: tuple[str, ...]
    was_completed: bool
