"""Why something ended: codes, as workers report them and events of the journal hold them.

Behaviour depends on a code, never on words; words are made where a code is shown, by
`karat.journal.wording`. A report or an event with a code may have `details`, a mapping of the
fields named below. Codes are on disk in users' studies: none changes its name or meaning.
"""

from enum import StrEnum
from typing import Any, Final

Details = dict[str, Any]


class Failure(StrEnum):
    """Why a trial could not go on: `failed` of a worker's report, `cause` of a failed trial's end.

    Where a trial is tried again, the end of its segment has the same code and details. `rank` is
    among them where a process other than rank 0 failed.

    | code | is written when | details |
    |---|---|---|
    | `error` | the trial raised an exception of no other kind below | `type`, `message`, and `place`, the file and line |
    | `memory` | memory ran out, on a GPU or on the machine; tried once more, in micro-batches | `message` of the exception; or `killed_by`, which is `ray` |
    | `non-finite` | a loss or a metric is NaN or infinite | `name`, `value` as text, `epoch`, and the `step` of a training loss |
    | `checkpoint` | a file of the trial could not be written | `message` of the exception |
    | `lost` | a process of the trial is gone; the trial's end, after too many of them | `what`, see `Loss`; of the trial's end `times`, and `last`, the details of the last |
    | `hung` | an epoch did not end within `resources.minutes_per_epoch` | `minutes`, and `trace`, the file that says where it hung |
    """

    ERROR = "error"
    MEMORY = "memory"
    NON_FINITE = "non-finite"
    CHECKPOINT = "checkpoint"
    LOST = "lost"
    HUNG = "hung"


KILLED_BY_RAY: Final[Details] = {"killed_by": "ray"}  # by Ray's memory monitor


class Loss(StrEnum):
    """What was lost: `what`, in the details of a lost segment.

    | code | is written when | further details |
    |---|---|---|
    | `worker` | the process that trains is gone, and nothing says why | |
    | `rank` | another process of the trial is gone | its `rank` |
    | `epoch` | another process of the trial did not come to the end of its epoch | |
    | `group` | another process of the trial does not answer this one | `message` of the exception |
    | `loader` | a process that loads data is gone | `message` of the exception |
    | `resume` | the worker does not find the checkpoint that the driver found | `message` of the exception |
    """

    WORKER = "worker"
    RANK = "rank"
    EPOCH = "epoch"
    GROUP = "group"
    LOADER = "loader"
    RESUME = "resume"


class Stop(StrEnum):
    """Why a trial was stopped before its last epoch: `cause` of `trial_ended` with status `stopped`.

    | code | is written when | details |
    |---|---|---|
    | `early_stopping` | the early-stopping rule has decided it | `epoch`, the last that it did |
    | `extended` | the study was extended to longer trials than this one | |
    """

    EARLY_STOPPING = "early_stopping"
    EXTENDED = "extended"


class SegmentEnd(StrEnum):
    """Why a segment ended while its trial goes on: `cause` of `segment_ended`.

    | code | is written when | details |
    |---|---|---|
    | `lost` | a process of the trial is gone | as of `Failure` |
    | `memory` | memory ran out, for the first time | as of `Failure` |
    | `checkpoint` | a file could not be written, and the study ends for that | as of `Failure` |
    | `paused` | the study ends, and the worker has written a checkpoint for that | `epoch`, the epochs done, and `step`, the steps of the next one |
    | `interrupted` | the study ends, and the worker did not pause in time | `by`, see `Interrupt` |
    | `driver_gone` | the next driver found it running: the one before was killed | |
    """

    LOST = Failure.LOST.value
    MEMORY = Failure.MEMORY.value
    CHECKPOINT = Failure.CHECKPOINT.value
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    DRIVER_GONE = "driver_gone"


class Interrupt(StrEnum):
    """Why a launch ended before its study did: `cause` of `interrupted`.

    | code | is written when | details |
    |---|---|---|
    | `signal` | the driver got a signal | `signal`, its name |
    | `budget` | a limit of the budget is reached | `limit`, its key, `of`, its value, and `spent` |
    | `disk` | several trials in a row could not write their files | `trials`, how many, and `last`, the details of the last one's failure |
    """

    SIGNAL = "signal"
    BUDGET = "budget"
    DISK = "disk"


class SearchCut(StrEnum):
    """Why the search ended before all its trials: `cause` of `search_cut`.

    | code | is written when | details |
    |---|---|---|
    | `budget` | what is left of the budget may do for the confirmation, and for no more | `limit`, its key, `of`, its value, `left`, and `needed` |
    """

    BUDGET = "budget"


class StudyFailure(StrEnum):
    """Why a study has no answer: `cause` of `study_ended` with status `failed`.

    | code | is written when | details |
    |---|---|---|
    | `nothing_completed` | no run of the confirmation was completed | |
    | `same_error` | several trials in a row raised the same exception at the same place | `trials`, how many, and `error`, the details of the last |
    """

    NOTHING_COMPLETED = "nothing_completed"
    SAME_ERROR = "same_error"


class Skip(StrEnum):
    """Why a level is not confirmed: `cause` of each entry of `skipped` in `confirmation_planned`.

    | code | is written when |
    |---|---|
    | `none_completed` | no search trial of the level was completed |
    """

    NONE_COMPLETED = "none_completed"
