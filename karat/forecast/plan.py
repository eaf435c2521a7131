"""What a plan will take: time and memory of each arm, trials at a time, disk."""

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
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial

if TYPE_CHECKING:
    from karat.forecast.predictions import Prediction


# Share of a large product's speed that training a small model reaches, measured on two cores.
EFFICIENCY = 0.25


GPU_MULTIPLY_ADDS_PER_S = 1e14  # a fast one


_GPU_STEP_S = 0.01  # at least: a small model's step waits for its kernels to be launched


_PREDICTED_ARMS = 16  # a prediction runs the model once, in half a second


_BYTES = 4  # of a number; a checkpoint has weights and two moments


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """What is known of an arm's trials before they run."""

    parameters: int
    epochs: int
    epoch_s: float
    memory: str
    is_probed: bool


def longest_epoch_s(space: Space) -> float:
    """About how long one epoch takes of the arm that takes longest, with what a trial gets."""
    rate = _rate(space.resources)
    if space.resources.gpus:
        rate /= EFFICIENCY  # nothing is to be refused wrongly
    configs = (trial_config(space, arm) for arm in space.arms.values())
    costs = ((config, costs_of_trial(config).forward_flops) for config in configs)
    return max(3 * flops * config.data.info().train_size for config, flops in costs) / rate


def arm_plans(space: Space, storage: Path, preload: Sequence[str] = ()) -> dict[str, ArmPlan]:
    """Of every arm; models that are equal are looked at once.

    Memory and time are predicted; where a launch has probed an arm, by what was measured.
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
    """Forward and backward pass of every picture, a backward pass being twice a forward one."""
    pictures = config.data.info().train_size
    waiting = _GPU_STEP_S * pictures / config.training.batch_size if resources.gpus else 0.0
    return max(waiting, 3 * flops * pictures / rate)


def _predictor(
    space: Space, storage: Path, preload: Sequence[str]
) -> Callable[[Arm], "Prediction | None"]:
    """What predicts an arm's trials; nothing, where there are too many arms for that."""
    if len(space.arms) > _PREDICTED_ARMS:
        return lambda arm: None
    from karat.forecast.predictions import predictions_for
    from karat.space.arms import sections_of

    predictions = predictions_for(space.resources, storage, preload)
    return lambda arm: predictions.try_of(sections_of(space, arm))


def forecast(
    space: Space, plans: Mapping[str, ArmPlan], schedule: list[str], slots: int
) -> list[Run]:
    """The plan, run over curves modelled from the space's seed, several times."""
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
    """Trials at a time, here and on the machines of every cluster, the most first.

    Args:
        resources: of a trial.
        machines: name of a cluster to what a study would have there.

    Raises:
        InputError: a trial fits nowhere.
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


def disk_bytes(plans: Mapping[str, ArmPlan], runs: list[Run], slots: int) -> float:
    """The best weights of completed trials, and what running ones keep: three states, three weights."""
    weights = _BYTES * float(np.mean([plan.parameters for plan in plans.values()]))
    completed = float(np.median([run.completed + run.confirmed for run in runs]))
    return weights * (completed + slots * (3 * 3 + 3))  # a state has AdamW's two moments too


def _rate(resources: ResourceConfig) -> float:
    """Multiply-adds a second of a trial in training."""
    if resources.gpus:  # which is not here to be measured
        return EFFICIENCY * GPU_MULTIPLY_ADDS_PER_S * max(1.0, resources.gpus_at_most)
    threads = resources.cpus * resources.num_processes
    return EFFICIENCY * _multiply_adds_per_second() * threads


def _multiply_adds_per_second() -> float:
    """Of one thread, on a product of two 256 x 256 matrices; the median of a few."""
    a = np.ones((256, 256), np.float32)
    times = []
    with threadpool_limits(1):
        for _ in range(20):
            started = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - started)
    return 256**3 / sorted(times)[len(times) // 2]
