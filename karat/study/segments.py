"""What a worker must know to run a trial's next segment."""

from pathlib import Path

from karat.journal.layout import HANG_TRACE, PAUSE_FILE, trial_folder
from karat.journal.state import Trial
from karat.space.space import Space
from karat.training.segment import Segment


def segment_for(
    trial: Trial, space: Space, study_folder: Path, *, from_epoch: int, gpus: float
) -> Segment:
    """The next segment of a trial.

    Args:
        trial: as it is before the segment starts.
        space: of the study.
        study_folder: of the study.
        from_epoch: the epoch of the checkpoint to resume from; 0 for none.
        gpus: GPUs of the worker, for all its processes together.
    """
    folder, resources = trial_folder(study_folder, trial.number), space.resources
    return Segment(
        trial=trial.number,
        config=trial.config,
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
        disk_folder=str(study_folder),
        disk_gb=resources.disk_gb,
    )
