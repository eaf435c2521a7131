"""Forecast of a plan: time and memory of each arm, trials at a time, disk space."""

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from karat.errors import InputError
from karat.forecast.capacity import slots_of
from karat.forecast.curves import ModelledCurves
from karat.forecast.schedule import Run, run_plan, times_for
from karat.forecast.speed.times import MEASURED, EpochTime, Spread, Times
from karat.forecast.typical import typical_configs
from karat.models.costs import Costs
from karat.report.formatting import memory_text
from karat.seeds import derive
from karat.space.arms import trial_config
from karat.space.settings import ResourceConfig
from karat.space.site import Machines
from karat.space.space import Arm, Space
from karat.tested import WEIGHTS, Weights
from karat.training.costs import costs_of_trial

_BYTES = 4  # of a float32
_FACTORS = 15  # speeds of the machine with which each run of a plan is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """What is known about an arm's trials before they run.

    Args:
        parameters: the number of the model's parameters.
        epochs: full length of a trial.
        epoch_s: seconds of an epoch.
        memory: peak of one process, as text; `-` if it was not measured.
        is_probed: whether time and memory were measured instead of predicted.
        test_s: seconds of the tests at the end of a confirmed trial.
        is_averaged: whether a moving average of the weights is kept in every training state.
    """

    parameters: int
    epochs: int
    epoch_s: float
    memory: str
    is_probed: bool
    is_averaged: bool = False
    test_s: float = 0.0


def longest_epoch_s(space: Space) -> float:
    """Estimate the seconds of an epoch of the slowest arm, with the resources of a trial.

    On a GPU it is a lower bound, so that no valid space is rejected.
    """
    times = Times(space.resources, None)
    configs = (trial_config(space, arm) for arm in space.arms.values())
    return max(times.unprobed_s(config, efficiency=1.0) for config in configs)


def arm_plans(space: Space, times: Times) -> dict[str, ArmPlan]:
    """Plan every arm; arms with the same model share one computation of its costs.

    Args:
        space: the search space.
        times: what an epoch takes.
    """
    known: dict[str, tuple[Costs, EpochTime]] = {}
    plans = {}
    for label, arm in space.arms.items():
        config = trial_config(space, arm)
        sections = [arm.sections[name] for name in ("data", "model", "attention")]
        tuned = [key for key in arm.tuned if not key.startswith("training.")]
        costly = config.training.costly()
        batch = [config.training.batch_size, config.training.workers, costly]
        shape = json.dumps([sections, tuned, batch], sort_keys=True)
        if shape not in known:
            known[shape] = costs_of_trial(config), _epoch_of(space, arm, times)
        costs, epoch = known[shape]
        memory = "-" if epoch.memory_bytes is None else memory_text(epoch.memory_bytes)
        plans[label] = ArmPlan(
            parameters=costs.parameters,
            epochs=config.training.epochs,
            epoch_s=epoch.seconds,
            memory=memory,
            is_probed=epoch.is_probed,
            is_averaged=config.training.ema_decay > 0,
            test_s=times.tests_s(config, epoch.evaluation_s),
        )
    return plans


def _epoch_of(space: Space, arm: Arm, times: Times) -> EpochTime:
    """The mean over typical configurations of an arm; the most memory."""
    each = [times.of(sections) for sections in typical_configs(space, arm)]
    memory = [one.memory_bytes for one in each if one.memory_bytes is not None]
    return EpochTime(
        seconds=sum(one.seconds for one in each) / len(each),
        evaluation_s=sum(one.evaluation_s for one in each) / len(each),
        memory_bytes=max(memory) if len(memory) == len(each) else None,
        is_probed=all(one.is_probed for one in each),
    )


def spread_of_plans(plans: Mapping[str, ArmPlan], times: Times) -> Spread:
    """How far the seconds of an epoch may be off; with one arm that was not measured, as if none were."""
    if plans and all(plan.is_probed for plan in plans.values()):
        return MEASURED
    return times.spread


def forecast(
    space: Space, plans: Mapping[str, ArmPlan], schedule: list[str], slots: int, times: Times
) -> list[Run]:
    """Run the plan several times over modelled learning curves, each with several speeds of the machine.

    The curves and the speeds are drawn from the space's seed.
    """
    seed = derive(space.name, space.seed, "forecast")
    lengths = {label: plan.epochs for label, plan in plans.items()}
    spread = spread_of_plans(plans, times)
    runs = []
    for n in range(times_for(sum(lengths[arm] for arm in schedule))):
        draw = random.Random(derive(seed, n, "speed"))
        pace = {label: _drawn(draw, spread.arm) for label in plans}
        epoch_s = {label: plan.epoch_s * pace[label] for label, plan in plans.items()}
        test_s = {label: plan.test_s * pace[label] for label, plan in plans.items()}
        curves = ModelledCurves(
            derive(seed, n), epoch_s, space.search.mode, trial_s=times.trial_s, test_s=test_s
        )
        runs.append(run_plan(space, schedule, lengths, curves, slots))
    # Quantiles of the machine's speed instead of random ones, since there are few runs of a large plan.
    normal = NormalDist(0.0, spread.machine)
    factors = [math.exp(normal.inv_cdf((each + 0.5) / _FACTORS)) for each in range(_FACTORS)]
    first = trial_config(space, next(iter(space.arms.values())))
    beside_s = times.start_s + times.decoded_once_s(first) + times.end_s
    return [
        replace(run, slot_s=factor * run.slot_s, wall_s=beside_s + factor * run.wall_s)
        for run in runs
        for factor in factors
    ]


def _drawn(draw: random.Random, deviation: float) -> float:
    """A factor with mean 1 whose logarithm has this standard deviation."""
    return math.exp(draw.gauss(0, deviation) - deviation**2 / 2)


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
    tested weights. A moving average of the weights is one more copy in every state.
    """
    weights = _BYTES * float(np.mean([plan.parameters for plan in plans.values()]))
    completed = float(np.median([run.completed + run.repeated + run.confirmed for run in runs]))
    averaged = float(np.mean([plan.is_averaged for plan in plans.values()]))
    state = 3 + averaged  # of AdamW: the weights and two moments
    running = {"last": 3 * state + 3, "best": 3 * (state + 1) + 1}
    return weights * (completed + slots * running[tested])


def snapshot_bytes(space: Space, plans: Mapping[str, ArmPlan], runs: list[Run]) -> float:
    """Estimate the bytes of the weights of epochs that confirmation runs keep (`training.keep_checkpoints`)."""
    parameters = float(np.mean([plan.parameters for plan in plans.values()]))
    confirmed = float(np.median([run.confirmed for run in runs]))
    return _BYTES * parameters * confirmed * float(np.mean(list(_kept(space))))


def _kept(space: Space) -> Iterator[int]:
    """How many epochs' weights a confirmation run keeps, by arm and length of training."""
    for arm in space.arms.values():
        training = trial_config(space, arm).training
        for budget in space.confirm.budgets:
            yield len(training.kept_of(budget * training.epochs))
