"""A trial's next segment: what the journal says of its start, and what its worker must know."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from karat.datasets import STRENGTHS
from karat.journal.layout import HANG_TRACE, PAUSE_FILE, WEIGHTS, trial_folder
from karat.journal.state import data_of
from karat.journal.trial import Trial
from karat.planning.data_place import place_in, sections_at
from karat.space.space import Space
from karat.training.segment import Estimate, Segment


def start_of(
    trial: Trial,
    from_epoch: int,
    passed_over: Sequence[str],
    slot: int | None,
    estimate: Estimate | None,
    processes: int,
    threads: int,
) -> dict[str, Any]:
    """The data of `segment_started`; what does not apply is left out.

    Args:
        trial: as it is before the segment starts.
        from_epoch: the epoch of the checkpoint to resume from; 0 for none.
        passed_over: newer checkpoints that cannot be used, with the reason.
        slot: number of the slot that runs the segment; None where there are no slots.
        estimate: predicted resources of the trial; None if they are not predicted.
        processes: of the trial.
        threads: CPU threads of each process, which results depend on in their last bits.
    """
    data = {
        "trial": trial.number,
        "segment": trial.segments,
        "from_epoch": from_epoch,
        "micro_batches": trial.micro_batches,
        "slot": slot,
        "passed_over": passed_over or None,
        "processes": processes if processes > 1 else None,
        "estimate": dataclasses.asdict(estimate) if estimate else None,
        "gpus": estimate.gpus if estimate else None,
        "threads": threads,
    }
    return {key: value for key, value in data.items() if value is not None}


def silence_s(space: Space, trials: Mapping[int, Trial], number: int | None) -> float:
    """Seconds for which a worker may report nothing: of an epoch, and of each corrupted copy that it tests then.

    Args:
        space: of the study.
        trials: of the study, by number.
        number: of the worker's trial; None while it has none.
    """
    limit_s = 60 * space.resources.minutes_per_epoch
    trial = None if number is None else trials[number]
    if trial is None or trial.phase != "confirm" or len(trial.reports) < trial.epochs - 1:
        return limit_s
    copies = len(STRENGTHS) * len(trial.config["data"].get("corruptions", ()))
    return limit_s * (1 + copies)


def segment_for(
    trial: Trial,
    space: Space,
    study_folder: Path,
    data: Mapping[str, Any],
    *,
    from_epoch: int,
    gpus: float,
) -> Segment:
    """The next segment of a trial.

    Args:
        trial: as it is before the segment starts.
        space: of the study, with its data where it lies now.
        study_folder: of the study.
        data: what the journal says of the study's data.
        from_epoch: the epoch of the checkpoint to resume from; 0 for none.
        gpus: GPUs of the worker, for all its processes together.
    """
    folder, resources = trial_folder(study_folder, trial.number), space.resources
    # Of the first arm's data, or of each data set; another one has no fingerprint.
    checked = next(iter(space.arms.values())).sections["data"]
    config = sections_at(trial.config, place_in(space))
    own = data_of(data, config["data"])
    is_known = own is not data or config["data"] == checked
    return Segment(
        trial=trial.number,
        config=config,
        seed=trial.seed,
        folder=str(folder),
        owner=trial.fingerprint,
        pause_file=str(study_folder / PAUSE_FILE),
        hang_trace=str(folder / HANG_TRACE),
        from_epoch=from_epoch,
        test_at_end=trial.phase == "confirm",
        metric=space.search.metric,
        mode=space.search.mode,
        threads=resources.cpus,
        processes=resources.num_processes,
        gpus=gpus,
        micro_batches=trial.micro_batches,
        limit_s=60 * resources.minutes_per_epoch,
        weights=space.confirm.weights,
        disk_folder=str(study_folder),
        initial_folder=str(study_folder / WEIGHTS),
        disk_gb=resources.disk_gb,
        fingerprint=own.get("fingerprint", "") if is_known else "",
    )
