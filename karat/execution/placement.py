"""Decides before the engine starts which share of this machine each trial of a study gets."""

import dataclasses
from collections.abc import Callable

from rich.console import Console

from karat.execution.preload import PRELOAD
from karat.journal.trial import Trial
from karat.space.arms import sections_of
from karat.space.settings import ResourceConfig
from karat.study.study import Study
from karat.training.gpu_share import share_of
from karat.training.segment import Estimate


def place(
    study: Study, console: Console, is_to_stop: Callable[[], bool] = lambda: False
) -> ResourceConfig:
    """Probe every model shape of the study's arms, and set the study's estimates from the results.

    Args:
        study: the study, before it runs.
        console: the terminal.
        is_to_stop: called before each probe; if it returns true, the probe is skipped.

    Returns:
        The resources from which the engine counts its slots: with `gpus: auto` those of the trial
        that needs the least.
    """
    resources = study.space.resources
    if not resources.is_probing:
        return resources
    from karat.forecast.predictions import predictions_for  # imports torch

    predictions = predictions_for(resources, study.folder.parent, PRELOAD)
    with console.status("probing memory and time of each arm"):
        for arm in study.space.arms.values():
            if not is_to_stop():
                predictions.try_measure(sections_of(study.space, arm))

    def estimate(trial: Trial) -> Estimate | None:
        found = predictions.try_of(trial.config, trial.micro_batches)
        if found is None:
            return None
        share = _share(found.memory_bytes) if resources.gpus == "auto" else None
        return Estimate(memory_bytes=found.memory_bytes, epoch_s=found.epoch_s, gpus=share)

    study.estimate = estimate
    if resources.gpus != "auto":
        return resources
    found = [predictions.try_of(sections_of(study.space, arm)) for arm in study.space.arms.values()]
    shares = [_share(each.memory_bytes) for each in found if each is not None]
    return dataclasses.replace(resources, gpus=min(shares, default=1.0))


def gpu_bytes() -> int:
    """Return the memory of this machine's first GPU, in bytes."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def _share(needed_bytes: int) -> float:
    return share_of(needed_bytes, gpu_bytes())
