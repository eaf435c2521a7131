"""`--dry-run`: the plan of a study and its price, without Ray and without training."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from karat.costs import Costs, costs_of_trial
from karat.curves import ModelledCurves
from karat.engine import slots_of
from karat.errors import InputError
from karat.forecast import Run, arms_in_order, run_plan, times_for
from karat.phrases import memory_text
from karat.plans.confirm import contests_of
from karat.seeds import derive
from karat.space import Arm, ResourceConfig, Space
from karat.spacearms import ends
from karat.trial_config import TrialConfig

if TYPE_CHECKING:
    from karat.predictions import Prediction

# Share of a large product's speed that training a small model reaches, measured on two cores.
_EFFICIENCY = 0.25
_GPU_MULTIPLY_ADDS_PER_S = 1e14  # a fast one
_GPU_STEP_S = 0.01  # at least: a small model's step waits for its kernels to be launched
_SPEEDS = (
    "the speed of a matrix product on this machine's CPU",
    f"{_EFFICIENCY * _GPU_MULTIPLY_ADDS_PER_S:.2g} multiply-adds a second of a GPU; "
    "resources.probe measures",
)
_SHOWN_ARMS = 60
_PREDICTED_ARMS = 16  # a prediction runs the model once, in half a second
_BYTES = 4  # of a number; a checkpoint has weights and two moments


def trial_config(space: Space, arm: Arm) -> TrialConfig:
    """A configuration of an arm, with each tuned parameter at its first end."""
    return TrialConfig.from_sections(arm.config({k: ends(space.tuned[k])[0] for k in arm.tuned}))


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
        rate /= _EFFICIENCY  # nothing is to be refused wrongly
    configs = (trial_config(space, arm) for arm in space.arms.values())
    costs = ((config, costs_of_trial(config).forward_flops) for config in configs)
    return max(3 * flops * config.data.info().train_size for config, flops in costs) / rate


def arm_plans(space: Space, storage: Path) -> dict[str, ArmPlan]:
    """Of every arm; models that are equal are looked at once.

    Memory and time are predicted; where a launch has probed an arm, by what was measured.
    """
    rate = _rate(space.resources)
    predicted = _predictor(space, storage)
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


def _predictor(space: Space, storage: Path) -> Callable[[Arm], "Prediction | None"]:
    """What predicts an arm's trials; nothing, where there are too many arms for that."""
    if len(space.arms) > _PREDICTED_ARMS:
        return lambda arm: None
    from karat.placement import predictions_for, sections_of  # bring torch

    predictions = predictions_for(space.resources, storage)
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


def print_plan(space: Space, console: Console, storage: Path) -> None:
    """Arms, trials, parameters per arm, what was excluded and why, and the price.

    Args:
        space: the checked question.
        console: the terminal.
        storage: folder of all studies, with what was probed.

    Raises:
        InputError: a trial fits neither this machine nor those of the space's cluster.
    """
    slots = slots_by_place(space)
    plans = arm_plans(space, storage)
    schedule = arms_in_order(space, space.seed)
    counts = Counter(schedule)
    is_drawn = space.search.allocation == "free"
    console.print(f"[bold]{space.name}[/bold]: {space.question}\n")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for name in ("parameters", "search trials", "s per epoch", "memory"):
        table.add_column(name, justify="right", min_width=max(map(len, name.split())))
    for label in list(space.arms)[:_SHOWN_ARMS]:
        table.add_row(
            f"{label} (reference)" if label in space.reference_arms else label,
            f"{plans[label].parameters:,}",
            f"{'about ' if is_drawn else ''}{counts[label]}",
            f"{plans[label].epoch_s:.1f}",
            plans[label].memory,
        )
    console.print(table)
    console.print(
        "memory        of one process at its highest; * measured by a probe", highlight=False
    )
    if len(plans) > _SHOWN_ARMS:
        console.print(f"... and {len(plans) - _SHOWN_ARMS} arms more\n")
    for line in (*_facts(space, counts), *_price(space, plans, schedule, slots)):
        console.print(line, markup=False, highlight=False)


def _facts(space: Space, counts: Counter[str]) -> Iterator[str]:
    for each in space.tuned.values():
        scale = ", logarithmic" if each.log else ""
        if each.values is not None:
            span = ", ".join(map(str, each.values))
        else:
            span = f"{each.low:g} to {each.high:g}{scale}"
        yield f"tuned         {each.name}: {span}"
    yield (
        f"search        {counts.total()} trials ({space.search.sampler}) for "
        f"{space.search.metric}; early stopping: {space.early_stopping['scheduler']}"
    )
    cells = contests_of(space)
    labels = [f"{'the best of ' if cell.reference else ''}{cell.label}" for cell in cells]
    yield (
        f"confirmation  {len(cells) * space.confirm.seeds} trials: {len(cells)} cells "
        f"({', '.join(labels)}) x {space.confirm.seeds} fresh seeds"
    )
    for excluded in space.excluded:
        yield f"excluded      {excluded.label}: {excluded.rule}"
    if not space.excluded:
        yield "excluded      nothing"


def slots_by_place(space: Space) -> dict[str, int]:
    """Trials at a time, here and on the machines of the space's cluster, the most first.

    Raises:
        InputError: a trial fits nowhere.
    """
    resources, found = space.resources, {}
    for way, each in space.cluster.machines.items():
        where = f"on {way} ({each.count} x {each.cpus} CPUs, {each.gpus} GPUs)"
        found[where] = resources.trials_on([(each.cpus, each.gpus)] * each.count)
    try:
        found["on this machine"] = slots_of(resources)
    except InputError:
        if not any(found.values()):
            raise
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _price(
    space: Space, plans: Mapping[str, ArmPlan], schedule: list[str], places: Mapping[str, int]
) -> Iterator[str]:
    by_place = {place: forecast(space, plans, schedule, n) for place, n in places.items() if n}
    (_, slots), runs = next(iter(places.items())), next(iter(by_place.values()))
    full = sum(plans[arm].epochs for arm in schedule)
    share = np.median([run.search_epochs for run in runs]) / full
    low, middle, high = quantiles([run.epochs for run in runs])
    yield (
        f"epochs        {middle:.0f} (p10 {low:.0f}, p90 {high:.0f}), in {len(runs)} runs of the plan "
        f"over modelled curves; early stopping leaves about {share:.0%} of the search's"
    )
    spent = [space.terms.price(run.slot_s, run.wall_s) for run in runs]
    for place, each in by_place.items():
        hours = _spread([run.wall_s / 3600 for run in each], _hours)
        yield f"time          {hours} {place}, {places[place]} trials at a time"
    for place in places.keys() - by_place.keys():
        yield f"time          none {place}: no machine there holds a trial"
    if space.resources.gpus:
        yield f"GPU-hours     {_spread([each.gpu_hours for each in spent], '{:.3g}'.format)}"
    if space.resources.gpus == "auto":
        yield "              at most: with a whole GPU for each trial; a launch may put several on one"
    yield f"CPU-hours     {_spread([each.cpu_hours for each in spent], '{:.3g}'.format)}"
    yield f"disk          about {_disk_bytes(plans, runs, slots) / 1e6:,.0f} MB of checkpoints"
    key = "usd_per_gpu_hour" if space.resources.gpus else "usd_per_cpu_hour"
    price = getattr(space.cluster, key)
    if price is None:
        yield f"money         no price (cluster.{key})"
    else:
        dollars = _spread([each.usd for each in spent], "{:.2f}".format)
        yield f"money         US dollars {dollars} at {price:g} an hour ({key})"
    for limit, value in space.budget.limits.items():
        need = quantiles([getattr(each, limit) for each in spent])[2]
        verdict = (
            "enough" if need <= value else "not enough: the study will leave off when it is spent"
        )
        yield f"budget        {limit} {value:g}: {verdict} (p90 {need:.3g})"
    if all(plan.is_probed for plan in plans.values()):
        yield "              from epochs that probes have measured on this machine"
    else:
        yield f"              rough: from operations and {_SPEEDS[bool(space.resources.gpus)]}"


def quantiles(values: list[float] | list[int]) -> tuple[float, float, float]:
    """The first decile, the median and the last decile."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return float(low), float(middle), float(high)


def _spread(values: list[float], shown: Callable[[float], str]) -> str:
    low, middle, high = map(shown, quantiles(values))
    return f"{middle} (p10 {low}, p90 {high})"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 2 else f"{max(1.0, 60 * hours):.0f} min"


def _disk_bytes(plans: Mapping[str, ArmPlan], runs: list[Run], slots: int) -> float:
    """The best weights of completed trials, and what running ones keep: three states, three weights."""
    weights = _BYTES * float(np.mean([plan.parameters for plan in plans.values()]))
    completed = float(np.median([run.completed + run.confirmed for run in runs]))
    return weights * (completed + slots * (3 * 3 + 3))  # a state has AdamW's two moments too


def _rate(resources: ResourceConfig) -> float:
    """Multiply-adds a second of a trial in training."""
    if resources.gpus:  # which is not here to be measured
        return _EFFICIENCY * _GPU_MULTIPLY_ADDS_PER_S * max(1.0, resources.gpus_at_most)
    threads = resources.cpus * resources.of_processes
    return _EFFICIENCY * _multiply_adds_per_second() * threads


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
