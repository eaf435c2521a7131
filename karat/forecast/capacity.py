"""How many trials this machine runs at a time, and whether it can probe them."""

import os

from karat.errors import InputError
from karat.space.settings import ResourceConfig


def check_probing(resources: ResourceConfig) -> None:
    """Check that the driver of a joined cluster has a GPU if trials on GPUs are to be probed on it.

    Raises:
        InputError: it has none; the message says which setting to write instead.
    """
    if not (resources.is_probing and resources.gpus):
        return
    import torch

    if not torch.cuda.is_available():
        asked, right = f"probe = {resources.probe}".lower(), "leave resources.probe out"
        if resources.gpus == "auto":
            asked, right = (
                "gpus = auto",
                "write how much a trial gets, such as resources.gpus = 0.5",
            )
        raise InputError(
            f"resources.{asked}: trials are probed where the study's driver runs, and this machine "
            f"of the cluster has no GPU; {right}"
        )


def slots_of(resources: ResourceConfig) -> int:
    """Return how many trials this machine can run at a time.

    Raises:
        InputError: it has too few CPU cores or GPUs for one trial.
    """
    cpus, processes = len(os.sched_getaffinity(0)), resources.num_processes
    if resources.cpus * processes > cpus:
        together = f" for each of {processes} processes" if processes > 1 else ""
        raise InputError(
            f"resources.cpus = {resources.cpus}{together}: this machine has {cpus} CPU cores; "
            f"at most {cpus} for a trial"
        )
    slots = cpus // (resources.cpus * processes)
    if resources.gpus:
        import torch

        gpus, wanted = torch.cuda.device_count(), resources.gpus_at_most
        if wanted > gpus:
            shown = resources.gpus if resources.gpus == "auto" else f"{wanted:g}"
            raise InputError(
                f"resources.gpus = {shown}: this machine has {gpus} GPUs; use 0 to train on the CPU"
            )
        slots = min(slots, int(gpus / wanted))
    return slots


# Cores that the driver, MLflow's view and Ray use while a study runs on two cores: measured on the main
# study (docs/decisions/0034-honest-times.md).
_OWN_CORES = 0.18


def crowding(resources: ResourceConfig) -> float:
    """How many times as long an epoch takes because trials leave no core for the study's own processes."""
    cores = len(os.sched_getaffinity(0))
    each = resources.cpus * resources.num_processes
    return max(1.0, (cores // each * each + _OWN_CORES) / cores)
