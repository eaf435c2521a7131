"""Codes of `karat.causes` in words, for whoever shows them: report, tracking, terminal.

Journals of before these codes have sentences. Where fields could not be told from one, the
details hold it whole, as `text` (`karat.journal.old_events`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from karat.causes import (
    KILLED_BY_KERNEL,
    Failure,
    Interrupt,
    Loss,
    RayTrouble,
    Skip,
    Stop,
    StudyFailure,
)
from karat.errors import NonFiniteError
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.prior import WarmStart

DRIVER_GONE_TEXT = "the driver exited unexpectedly"
Details = Mapping[str, Any]


def trial_text(trial: Trial) -> str:
    """Why a trial was stopped or has failed; empty for any other."""
    if trial.status == "failed":
        return failure_text(trial.cause, trial.details)
    return stop_text(trial.cause, trial.details) if trial.status == "stopped" else ""


def study_text(state: StudyState) -> str:
    """Why a study is interrupted or has failed; empty for any other."""
    if state.status == "interrupted":
        return interrupt_text(state.cause, state.details)
    return study_failure_text(state.cause, state.details) if state.status == "failed" else ""


def failure_text(cause: str, details: Details) -> str:
    """Why a trial could not go on, or why its segment ended; `cause` is one of `Failure`."""
    if "text" in details:
        return str(details["text"])
    if cause == Failure.LOST and "times" in details:
        return _lost_too_often(details)
    text = _failure(cause, details)
    is_of_rank = "rank" in details and details.get("what") != Loss.RANK
    return f"rank {details['rank']}: {text}" if is_of_rank else text


def _failure(cause: str, details: Details) -> str:
    if details.get("killed_by") == KILLED_BY_KERNEL["killed_by"]:
        return "killed by the kernel: out of memory"
    if cause == Failure.LOST:
        return _loss(details)
    if cause == Failure.NON_FINITE:
        fields = {key: details[key] for key in ("name", "value", "epoch", "step") if key in details}
        return str(NonFiniteError(**fields))
    if cause == Failure.HUNG:
        minutes = f"{details['minutes']:g} minutes"
        return f"reported nothing for {minutes}; where it hung: {details['trace']}"
    if cause == Failure.MEMORY and "killed_by" in details:
        return "out of memory on its machine: Ray's memory monitor killed the process"
    if cause == Failure.MEMORY:
        return f"out of memory: {details['message']}"
    if "missing" in details:
        return f"{details['missing']} is missing at epoch {details['epoch']}"
    if cause == Failure.ERROR:
        return f"{details['type']}: {details['message']} ({details['place']})"
    return str(details["message"])


def _loss(details: Details) -> str:
    what = details.get("what", Loss.WORKER)
    if what == Loss.WORKER:
        return "its worker process died"
    if what == Loss.RANK:
        return f"rank {details['rank']} exited unexpectedly"
    if what == Loss.EPOCH:
        return "a rank of the trial did not finish its epoch"
    return str(details["message"])


def _lost_too_often(details: Details) -> str:
    text, last = f"its worker was lost {details['times']} times", details.get("last", {})
    is_unknown = last.get("what", Loss.WORKER) == Loss.WORKER
    if is_unknown and "text" not in last and "killed_by" not in last:
        return text
    return f"{text}; the last time: {failure_text(Failure.LOST, last)}"


def stop_text(cause: str, details: Details) -> str:
    """Why a trial was stopped; `cause` is one of `Stop`."""
    if "text" in details:
        return str(details["text"])
    if cause == Stop.EXTENDED:
        return "the study was extended to longer trials"
    if cause == Stop.CONSTRAINT:
        metric, value, epoch = (details[key] for key in ("metric", "value", "epoch"))
        return f"{metric} is {value:.4g} at epoch {epoch}; search.constraints: {constraint_text(details)}"
    return f"early stopping at epoch {details['epoch']}"


def constraint_text(details: Details) -> str:
    """The constraint of `search.constraints` that a trial broke: `health_entropy >= 0.05`."""
    return f"{details['metric']} {details['relation']} {details['limit']:g}"


def interrupt_text(cause: str, details: Details) -> str:
    """What interrupted a study: the name of a signal, or a phrase; `cause` is one of `Interrupt`."""
    if "text" in details:
        return str(details["text"])
    if cause == Interrupt.BUDGET:
        limit, of, spent = details["limit"], details["of"], details["spent"]
        return f"budget.{limit} = {of:g} is spent ({spent:.4g})"
    if cause == Interrupt.DISK:
        last = failure_text(Failure.CHECKPOINT, details["last"])
        return (
            f"checkpoints could not be written {details['trials']} times in a row, the last time: "
            f"{last}"
        )
    if cause == Interrupt.RAY:
        return _ray_trouble(details)
    return str(details["signal"])


def _ray_trouble(details: Details) -> str:
    if details["what"] == RayTrouble.PROCESS:
        return f"Ray's process {details['name']} ended unexpectedly"
    if details["what"] == RayTrouble.UNREACHABLE:
        return f"the head of the Ray cluster at {details['address']} accepts no connection"
    return f"Ray did not answer for {details['seconds']:g} seconds"


def search_cut_text(details: Details) -> str:
    """Why a search ended before all its trials, as a phrase."""
    if "text" in details:
        return str(details["text"])
    return (
        f"of budget.{details['limit']} = {details['of']:g} there are {details['left']:.3g} left, "
        f"and another search trial and the confirmation may take {details['needed']:.3g}"
    )


def study_failure_text(cause: str, details: Details) -> str:
    """Why a study has no answer; `cause` is one of `StudyFailure`."""
    if "text" in details:
        return str(details["text"])
    if cause == StudyFailure.SAME_ERROR:
        error = failure_text(Failure.ERROR, details["error"])
        return f"{details['trials']} trials in a row failed with the same error: {error}"
    if "stopped" in details:
        broke = f"{details['stopped']} of {details['of']} trials of the search broke a constraint"
        return f"no trial was completed; {broke} (search.constraints)"
    return "no trial was completed"


def skip_text(cause: str, details: Details) -> str:
    """Why a level is not confirmed; `cause` is one of `Skip`."""
    if cause == Skip.NONE_ALLOWED:
        return (
            f"no trial of it finished the search: {details['stopped']} of {details['of']} broke a constraint "
            "(search.constraints)"
        )
    if cause == Skip.NONE_REPEATED:
        return "every run of its shortlist failed"
    assert cause == Skip.NONE_COMPLETED
    return "no trial of it finished the search"


def warm_start_text(found: WarmStart, arms: Sequence[str]) -> str:
    """What a search began with, and where it is uneven, as a sentence.

    Args:
        found: results of an older study.
        arms: labels of all arms.
    """
    counts = [found.by_arm[label] for label in arms]
    each = f"{counts[0]} in each arm"
    if len(set(counts)) > 1:
        each = ", ".join(f"{label} {count}" for label, count in zip(arms, counts, strict=True))
        each = f"{each}: the arms were not tuned equally"
    more = f"; {found.left_out} others say nothing here and were left out" if found.left_out else ""
    number = len(found.trials)
    return (
        f"The search began with {number} result{'s' * (number != 1)} of the study {found.study} ({each}){more}. They are told to the "
        "sampler, and are neither trials nor part of any number or verdict here."
    )


def computed_text(computed: Mapping[str, Any]) -> str:
    """How the steps of a trial were computed, without the backend of softmax attention.

    Args:
        computed: as the journal has it (`karat.training.Trainer.computed`).
    """
    precision = {"bf16": "bfloat16 (autocast)"}.get(computed["precision"], computed["precision"])
    parts = [precision, "compiled" if computed["compiled"] else "not compiled"]
    if "tf32" in computed:
        used = [name for name, is_used in computed["tf32"].items() if is_used]
        parts.append(f"TF32 in {' and '.join(used)}" if used else "no TF32")
    return f"{', '.join(parts)}; optimiser {computed['optimizer']}"
