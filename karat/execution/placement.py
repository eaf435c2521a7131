"""Decides before the engine starts which share of this machine each trial of a study gets."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from karat.constraints import MEMORY
from karat.errors import InputError
from karat.execution.preload import PRELOAD
from karat.forecast.capacity import slots_of
from karat.forecast.speed.times import Times
from karat.forecast.typical import typical_configs
from karat.journal.trial import Trial
from karat.planning.data_place import sections_at, space_at
from karat.report.formatting import duration
from karat.space.arms import sections_of
from karat.space.settings import ResourceConfig
from karat.space.space import Space
from karat.study.study import Study
from karat.training.gpu_share import share_of
from karat.training.segment import Estimate

if TYPE_CHECKING:
    from karat.forecast.predictions import Predictions


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
    needs_memory = any(each.metric == MEMORY for each in study.space.search.limits)
    if not resources.is_probing and not needs_memory:
        return resources
    from karat.forecast.predictions import predictions_for  # imports torch

    predictions = predictions_for(resources, study.folder.parent, PRELOAD)
    space = space_at(study.space, study.data_place)
    configs = [sections_of(space, arm) for arm in space.arms.values()]
    if resources.is_probing:
        _probe(predictions, configs, space, study.folder.parent, console, is_to_stop)

    def memory_of(sections: Mapping[str, Mapping[str, Any]]) -> float | None:
        found = predictions.try_of(sections)
        return None if found is None else found.memory_bytes / 2**20

    study.memory_of = memory_of
    if not resources.is_probing:
        return resources

    def estimate(trial: Trial) -> Estimate | None:
        found = predictions.try_of(sections_at(trial.config, study.data_place), trial.micro_batches)
        if found is None:
            return None
        share = _share(found.memory_bytes) if resources.gpus == "auto" else None
        return Estimate(memory_bytes=found.memory_bytes, epoch_s=found.epoch_s, gpus=share)

    study.estimate = estimate
    if resources.gpus != "auto":
        return resources
    found = [predictions.try_of(sections_of(space, arm)) for arm in space.arms.values()]
    shares = [_share(each.memory_bytes) for each in found if each is not None]
    return dataclasses.replace(resources, gpus=min(shares, default=1.0))


def measure(space: Space, storage: Path, console: Console) -> None:
    """Probe every shape among a space's arms that was not probed yet, for the forecast of its time.

    Args:
        space: the search space.
        storage: folder of all studies and of the file of probes.
        console: the terminal.

    Raises:
        InputError: the trials need a GPU, and this machine has none.
    """
    from karat.forecast.predictions import predictions_for  # imports torch

    predictions = predictions_for(space.resources, storage, PRELOAD)
    if space.resources.gpus and predictions.process.on_cpu:
        raise InputError(
            "--measure: this machine has no GPU, and resources.gpus asks for one; measure where the trials run"
        )
    configs = [each for arm in space.arms.values() for each in typical_configs(space, arm)]
    _probe(predictions, configs, space, storage, console)


def _probe(
    predictions: "Predictions",
    configs: list[dict[str, dict[str, Any]]],
    space: Space,
    storage: Path,
    console: Console,
    is_to_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Probe what was not probed, as many at a time as trials will run, and say how long it takes."""
    unknown, times = predictions.unknown(configs), Times(space.resources, None)
    if not unknown or is_to_stop():
        return
    at_a_time = min(len(unknown), _at_a_time(space.resources))
    seconds = sum(times.probe_s(each) for each in unknown) / at_a_time
    what = f"{len(unknown)} shapes" if len(unknown) > 1 else "one shape"
    together = f", {at_a_time} at a time" if at_a_time > 1 else ""
    console.print(f"measuring steps and memory of {what}{together}: about {duration(seconds)}")
    with console.status("measuring") as status:
        for done in predictions.measure_all(unknown, at_a_time, is_to_stop):
            status.update(f"measuring: {done} of {len(unknown)} done")


def _at_a_time(resources: ResourceConfig) -> int:
    """As many as trials at a time on the CPUs of this machine, since they slow each other down."""
    if resources.gpus:
        return 1
    try:
        return slots_of(resources)
    except InputError:  # of a joined cluster, whose trials run elsewhere
        return 1


def gpu_bytes() -> int:
    """Return the memory of this machine's first GPU, in bytes."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def _share(needed_bytes: int) -> float:
    return share_of(needed_bytes, gpu_bytes())
