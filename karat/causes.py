"""Codes of causes: why a trial, a segment, a launch or a study ended.

Workers report codes, and events in the journal contain them. Behaviour depends on codes, never on
sentences; `karat.journal.wording` makes the sentence where a code is shown. A report or an event
with a code may have `details`, a mapping with the fields below. Codes are on disk in users' studies,
so their names and meanings must not change.
"""

from enum import StrEnum
from typing import Any, Final

Details = dict[str, Any]


class Failure(StrEnum):
    """Why a trial failed: `failed` in a worker's report, `cause` in `trial_ended`.

    If the trial is retried, the end of its segment has the same code and details. `rank` is among
    the details if a rank other than 0 failed.

    | code | is written when | details |
    |---|---|---|
    | `error` | the trial raised any other exception | `type`, `message`, and `place` (file and line) |
    | `memory` | memory ran out, on a GPU or on the machine; one retry, in micro-batches | `message` of the exception, or `killed_by`, which is `ray` |
    | `non-finite` | a loss or a metric is NaN or infinite | `name`, `value` as text, `epoch`, and `step` for a training loss |
    | `checkpoint` | a file of the trial could not be written, again and again | `message` of the exception |
    | `lost` | a process of the trial was lost; the trial ends after too many losses | `what`, see `Loss`; at the end of the trial `times`, and `last` with the details of the last loss |
    | `hung` | an epoch took longer than `resources.minutes_per_epoch` | `minutes`, and `trace`, the file with the stack traces |
    """

    ERROR = "error"
    MEMORY = "memory"
    NON_FINITE = "non-finite"
    CHECKPOINT = "checkpoint"
    LOST = "lost"
    HUNG = "hung"


KILLED_BY_RAY: Final[Details] = {"killed_by": "ray"}  # by Ray's memory monitor
# As `karat.system.process.memory.MemoryKills` counts them.
KILLED_BY_KERNEL: Final[Details] = {"killed_by": "kernel"}


class Loss(StrEnum):
    """What was lost: `what`, in the details of a lost segment.

    | code | is written when | further details |
    |---|---|---|
    | `worker` | the worker's process exited for an unknown reason, or the kernel killed it | `killed_by: kernel` |
    | `rank` | the process of another rank exited | `rank` |
    | `epoch` | another rank did not finish its epoch | |
    | `group` | another rank does not respond | `message` of the exception |
    | `loader` | a data loading process exited | `message` of the exception |
    | `resume` | the worker does not find the checkpoint that the driver found | `message` of the exception |
    """

    WORKER = "worker"
    RANK = "rank"
    EPOCH = "epoch"
    GROUP = "group"
    LOADER = "loader"
    RESUME = "resume"


class Stop(StrEnum):
    """Why a trial was stopped: `cause` of `trial_ended` with status `stopped`.

    | code | is written when | details |
    |---|---|---|
    | `early_stopping` | the early-stopping rule stopped it | `epoch`, its last epoch |
    | `constraint` | its last report broke one of `search.constraints` | `epoch`; `metric` and its `value`; `relation`, `<=` or `>=`, and `limit` |
    | `extended` | the study was extended to longer trials than this one | |
    """

    EARLY_STOPPING = "early_stopping"
    CONSTRAINT = "constraint"
    EXTENDED = "extended"


class Audit(StrEnum):
    """Why a completed trial is of special interest: `cause` of `trial_ended` with status `completed`.

    | code | is written when | details |
    |---|---|---|
    | `finished_anyway` | the early-stopping rule would have stopped it (`early_stopping.audit_share`) | `epoch`, at which it would have |
    """

    FINISHED_ANYWAY = "finished_anyway"


class SegmentEnd(StrEnum):
    """Why a segment ended although its trial continues: `cause` of `segment_ended`.

    | code | is written when | details |
    |---|---|---|
    | `lost` | a process of the trial was lost | as in `Failure` |
    | `memory` | memory ran out for the first time | as in `Failure` |
    | `checkpoint` | a file could not be written; the trial goes on when it can | as in `Failure` |
    | `paused` | the launch ends, and the worker has written a checkpoint | `epoch`, the epochs done, and `step`, the steps of the next one |
    | `interrupted` | the launch ends, and the worker did not pause in time | `by`, see `Interrupt` |
    | `held` | the early-stopping rule must see other trials before it decides about this one | |
    | `driver_gone` | a new driver found the segment running: the previous driver was killed | |
    """

    LOST = Failure.LOST.value
    MEMORY = Failure.MEMORY.value
    CHECKPOINT = Failure.CHECKPOINT.value
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    HELD = "held"
    DRIVER_GONE = "driver_gone"


class Interrupt(StrEnum):
    """Why a launch ended before its study did: `cause` of `interrupted`.

    | code | is written when | details |
    |---|---|---|
    | `signal` | the driver received a signal | `signal`, its name |
    | `budget` | a limit of the budget is reached | `limit`, its key; `of`, its value; `spent`, the usage |
    | `disk` | several consecutive segments could not write their files | `trials`, their number (of segments); `last`, the details of the last failure |
    | `ray` | Ray ended, or did not answer | `what`, see `RayTrouble` |
    """

    SIGNAL = "signal"
    BUDGET = "budget"
    DISK = "disk"
    RAY = "ray"


class RayTrouble(StrEnum):
    """What was wrong with Ray: `what`, in the details of `Interrupt.RAY`.

    | code | is written when | further details |
    |---|---|---|
    | `process` | a process of Ray on this machine ended unexpectedly | `name` |
    | `unreachable` | the head of the cluster accepted no connection | `address` |
    | `silent` | a call of Ray did not return | `seconds` |
    """

    PROCESS = "process"
    UNREACHABLE = "unreachable"
    SILENT = "silent"


class SearchCut(StrEnum):
    """Why the search ended before all its trials: `cause` of `search_cut`.

    | code | is written when | details |
    |---|---|---|
    | `budget` | the rest of the budget is needed for the confirmation | `limit`, its key; `of`, its value; `left`; `needed` |
    """

    BUDGET = "budget"


class StudyFailure(StrEnum):
    """Why a study has no answer: `cause` of `study_ended` with status `failed`.

    | code | is written when | details |
    |---|---|---|
    | `nothing_completed` | no run of the confirmation was completed | `stopped`, the trials of the search that broke a constraint, and `of`, all of them; none if no trial did |
    | `same_error` | several consecutive trials raised the same exception at the same place | `trials`, their number; `error`, the details of the last |
    """

    NOTHING_COMPLETED = "nothing_completed"
    SAME_ERROR = "same_error"


class Skip(StrEnum):
    """Why a level is not confirmed: `cause` of each entry of `skipped` in `confirmation_planned`.

    | code | is written when | details |
    |---|---|---|
    | `none_completed` | no search trial of the level was completed | |
    | `none_allowed` | none was completed, and at least one broke a constraint | `stopped`, the number of those that did; `of`, of all search trials of the level |
    | `none_repeated` | no run of its shortlist was completed | |
    """

    NONE_COMPLETED = "none_completed"
    NONE_ALLOWED = "none_allowed"
    NONE_REPEATED = "none_repeated"
