"""Forecast of a plan: time and memory of each arm, trials at a time, disk space."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from karat.errors import InputError
from karat.forecast.capacity import slots_of
from karat.forecast.curves import ModelledCurves
from karat.forecast.schedule import Run, run_plan, times_for
from karat.models.costs import Costs
from karat.report.formatting import memory_text
from karat.seeds import derive
from karat.space.arms import trial_config
from karat.space.settings import ResourceConfig
from karat.space.site import Machines
from karat.space.space import Arm, Space
from karat.tested import WEIGHTS, Weights
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial

if TYPE_CHECKING:
    from karat.forecast.predictions import Prediction


# Training a small model reaches this share of a large matrix product's speed; measured on two cores.
EFFICIENCY = 0.25
GPU_MULTIPLY_ADDS_PER_S = 1e14  # of a fast GPU
_GPU_STEP_S = 0.01  # lower bound: a step of a small model waits for its kernel launches
_PREDICTED_ARMS = 16  # at most, since a prediction runs the model, which takes half a second
_BYTES = 4  # of a float32


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """What is known about an arm's trials before they run.

    Args:
        parameters: the number of the model's parameters.
        epochs: full length of a trial.
        epoch_s: seconds of an epoch.
        memory: peak of one process, as text; `-` if it was not predicted.
        is_probed: whether time and memory were measured instead of predicted.
    """

    parameters: int
    epochs: int
    epoch_s: float
    memory: str
    is_probed: bool


def longest_epoch_s(space: Space) -> float:
    """Estimate the seconds of an epoch of the slowest arm, with the resources of a trial."""
    rate = _rate(space.resources)
    if space.resources.gpus:
        rate /= EFFICIENCY  # a lower bound of the time, so that no valid space is rejected
    configs = (trial_config(space, arm) for arm in space.arms.values())
    costs = ((config, costs_of_trial(config).forward_flops) for config in configs)
    return max(3 * flops * config.data.info().train_size for config, flops in costs) / rate


def arm_plans(space: Space, storage: Path, preload: Sequence[str] = ()) -> dict[str, ArmPlan]:
    """Plan every arm; arms with the same model share one computation of its costs.

    Memory and time are predicted, or measured if a launch has probed the arm.

    Args:
        space: the search space.
        storage: folder of all studies and of the file of probes.
        preload: modules that are loaded in a trial's process.
    """
    rate = _rate(space.resources)
    predicted = _predictor(space, storage, preload)
    known: dict[str, Costs] = {}
    plans = {}
    for label, arm in space.arms.items():
        config = trial_config(space, arm)
        sections = [arm.sections[name] for name in ("data", "model", "attention")]
        tuned = [key for key in arm.tuned if not key.startswith("training.")]
        shape = json.dumps([sections, tuned], sort_keys=True)
        if shape not in known:
            known[shape] = costs_of_trial(config)
        costs, found = known[shape], predicted(arm)
        epoch_s = found.epoch_s if found else None
        plans[label] = ArmPlan(
            parameters=costs.parameters,
            epochs=config.training.epochs,
            epoch_s=epoch_s or _epoch_s(config, costs.forward_flops, space.resources, rate),
            memory=memory_text(found.memory_bytes) + "*" * found.is_probed if found else "-",
            is_probed=found is not None and found.is_probed,
        )
    return plans


def _epoch_s(config: TrialConfig, flops: int, resources: ResourceConfig, rate: float) -> float:
    """Estimate the seconds of an epoch; a backward pass costs as much as two forward passes."""
    images = config.data.info().train_size
    waiting = _GPU_STEP_S * images / config.training.batch_size if resources.gpus else 0.0
    return max(waiting, 3 * flops * images / rate)


def _predictor(
    space: Space, storage: Path, preload: Sequence[str]
) -> Callable[[Arm], "Prediction | None"]:
    """Return a function that predicts an arm's trials; it returns None if there are too many arms."""
    if len(space.arms) > _PREDICTED_ARMS:
        return lambda arm: None
    from karat.forecast.predictions import predictions_for
    from karat.space.arms import sections_of

    predictions = predictions_for(space.resources, storage, preload)
    return lambda arm: predictions.try_of(sections_of(space, arm))


def forecast(
    space: Space, plans: Mapping[str, ArmPlan], schedule: list[str], slots: int
) -> list[Run]:
    """Run the plan several times over learning curves modelled from the space's seed."""
    seed = derive(space.name, space.seed, "forecast")
    lengths = {label: plan.epochs for label, plan in plans.items()}
    epoch_s = {label: plan.epoch_s for label, plan in plans.items()}
    times = times_for(sum(lengths[arm] for arm in schedule))
    return [
        run_plan(
            space,
            schedule,
            lengths,
            ModelledCurves(derive(seed, n), epoch_s, space.search.mode),
            slots,
        )
        for n in range(times)
    ]


def slots_by_place(resources: ResourceConfig, machines: Mapping[str, Machines]) -> dict[str, int]:
    """Return the trials at a time on this machine and on each cluster, largest number first.

    Args:
        resources: resources of a trial.
        machines: cluster name to the machines that a study would get there.

    Raises:
        InputError: a trial fits neither on this machine nor on any cluster.
    """
    found = {}
    for name, each in machines.items():
        where = f"on {name} ({each.count} x {each.cpus} CPUs, {each.gpus} GPUs)"
        found[where] = resources.trials_on([(each.cpus, each.gpus)] * each.count)
    try:
        found["on this machine"] = slots_of(resources)
    except InputError:
        if not any(found.values()):
            raise
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def disk_bytes(
    plans: Mapping[str, ArmPlan], runs: list[Run], slots: int, tested: Weights = WEIGHTS
) -> float:
    """Estimate the bytes of checkpoints: the weights that each completed trial keeps, and those of
    each running trial.

    A running trial of the search has three training states and three copies of its best weights; one
    of the confirmation three states, with its best weights if these are tested, and at its end the
    tested weights.
    """
    weights = _BYTES * float(np.mean([plan.parameters for plan in plans.values()]))
    completed = float(np.median([run.completed + run.repeated + run.confirmed for run in runs]))
    state = 3  # of AdamW: the weights and two moments
    running = {"last": 3 * state + 3, "best": 3 * (state + 1) + 1}
    return weights * (completed + slots * running[tested])


def _rate(resources: ResourceConfig) -> float:
    """Return the multiply-adds per second of a trial in training."""
    if resources.gpus:  # assumed, since the GPU may be on another machine
        return EFFICIENCY * GPU_MULTIPLY_ADDS_PER_S * max(1.0, resources.gpus_at_most)
    threads = resources.cpus * resources.num_processes
    return EFFICIENCY * _multiply_adds_per_second() * threads


def _multiply_adds_per_second() -> float:
    """Measure one thread on products of two 256 x 256 matrices; the median of 20."""
    a = np.ones((256, 256), np.float32)
    times = []
    with threadpool_limits(1):
        for _ in range(20):
            started = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - started)
    return 256**3 / sorted(times)[len(times) // 2]
