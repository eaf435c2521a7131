"""A segment: one attempt to continue a trial, as the driver sends it to a worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.tested import WEIGHTS, Weights


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The predicted needs of each process of a trial.

    Args:
        memory_bytes: peak memory.
        epoch_s: seconds per epoch; None if they cannot be predicted.
        gpus: fraction of a GPU that has enough memory; None if the study sets the fraction.
    """

    memory_bytes: int
    epoch_s: float | None
    gpus: float | None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One attempt to continue a trial: everything that a worker must know, as plain data.

    Args:
        trial: number of the trial.
        config: sections `data`, `model`, `attention` and `training`.
        seed: seed of the trial.
        folder: folder of the trial's checkpoints.
        owner: fingerprint of the trial, which its checkpoints carry.
        pause_file: file in which the driver requests a pause (`karat.training.pause`).
        hang_trace: file for the stack traces of a process that hangs.
        from_epoch: epochs done before; 0 starts from scratch.
        test_at_end: whether the test split is evaluated after the last epoch.
        weights: which weights are tested, of the `last` or of the `best` epoch.
        metric, mode: metric that selects the best epoch, and its direction.
        threads: CPU threads of each process.
        processes: number of processes that train the trial.
        gpus: GPUs of the trial, for all processes; may be a fraction.
        micro_batches: number of parts in which a batch goes through the model.
        limit_s: an epoch that takes more seconds is killed.
        disk_folder, disk_gb: folder of the study, and its disk budget (None for no limit).
        initial_folder: folder with the weights of `model.init_from`; need not exist where they are drawn.
        fingerprint: of the data, by which its decoded images are kept; empty if it is not known.
    """

    trial: int
    config: Mapping[str, Any]
    seed: int
    folder: str
    owner: str
    pause_file: str
    hang_trace: str
    from_epoch: int
    test_at_end: bool
    metric: str
    mode: str
    threads: int
    processes: int
    gpus: float
    micro_batches: int
    limit_s: float
    disk_folder: str
    disk_gb: float | None
    weights: Weights = WEIGHTS
    initial_folder: str = ""
    fingerprint: str = ""
