"""One attempt to carry a trial on, as the driver hands it to a worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a trial will take, for each of its processes.

    Args:
        memory_bytes: at the highest.
        epoch_s: of an epoch, if that can be told.
        gpus: the part of a GPU that holds it; None where the study says how much.
    """

    memory_bytes: int
    epoch_s: float | None
    gpus: float | None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One attempt to carry a trial on: everything that a worker must know, as plain data.

    Args:
        trial: its number.
        config: sections `data`, `model`, `attention` and `training`.
        seed: of the trial.
        folder: where its checkpoints lie.
        owner: whose these are.
        pause_file: path of what the driver tells its workers (`karat.training.pause`).
        hang_trace: path of what a process writes that hung: where it was when it was ended.
        from_epoch: epochs done before; 0 starts anew.
        test_at_end: whether the test split is evaluated after the last epoch.
        metric, mode: by which the best epoch's weights are kept.
        threads: CPU threads of each process.
        processes: that train it together.
        gpus: of the trial.
        micro_batches: parts in which a batch goes through the model.
        limit_s: seconds after which an epoch that has not come to its end is given up.
        disk_folder, disk_gb: the study's folder, and how much it may hold, if that is limited.
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
