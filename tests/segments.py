"""A segment as the driver sends it to a worker."""

from pathlib import Path
from typing import Any

from karat.journal.layout import HANG_TRACE, PAUSE_FILE, trial_folder
from karat.training.segment import Segment
from tests.training.test_trainer import SECTIONS
from tests.waiting import PATIENCE_S


def segment(folder: Path, **changes: Any) -> Segment:
    """A whole short trial of two processes, in a study's folder, with some of its fields changed."""
    values: dict[str, Any] = {
        "trial": 0,
        "config": {**SECTIONS, "training": {"epochs": 2, "batch_size": 127}},
        "seed": 1,
        "folder": str(trial_folder(folder, 0)),
        "owner": "me",
        "pause_file": str(folder / PAUSE_FILE),
        "hang_trace": str(trial_folder(folder, 0) / HANG_TRACE),
        "from_epoch": 0,
        "test_at_end": True,
        "metric": "val_accuracy",
        "mode": "max",
        "threads": 1,
        "processes": 2,
        "gpus": 0,
        "micro_batches": 1,
        "limit_s": PATIENCE_S,
        "disk_folder": str(folder),
        "disk_gb": None,
    }
    return Segment(**{**values, **changes})
