"""`--dry-run`: the plan of a study, without Ray and without training."""

import time
from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from karat.costs import Costs, costs_of
from karat.phrases import memory_text
from karat.plans.confirm import contests_of
from karat.plans.search import JOINT, Search
from karat.predictions import Predictions
from karat.schedulers import make_scheduler
from karat.space import Arm, Space
from karat.spacefile import ends
from karat.training import TrialConfig

# Share of a large product's speed that training a small model reaches, measured on two cores.
_EFFICIENCY = 0.25
_GPU_MULTIPLY_ADDS_PER_S = 1e14


def trial_config(space: Space, arm: Arm) -> TrialConfig:
    """A configuration of an arm, with each tuned parameter at its first end."""
    return TrialConfig.from_sections(arm.config({k: ends(space.tuned[k])[0] for k in arm.tuned}))


def arm_costs(config: TrialConfig) -> Costs:
    """What the model of a configuration costs."""
    info = config.data.info()
    return costs_of(
        config.model,
        config.attention,
        image_size=info.image_size,
        channels=info.channels,
        classes=len(info.classes),
    )


def longest_epoch_s(space: Space) -> float:
    """About how long one epoch takes of the arm that takes longest, with what a trial gets."""
    rate = _EFFICIENCY * _multiply_adds_per_second() * space.resources.cpus
    if (
        space.resources.gpus
    ):  # not here to be measured: a fast one, so that nothing is refused wrongly
        rate = max(rate, _GPU_MULTIPLY_ADDS_PER_S)
    configs = (trial_config(space, arm) for arm in space.arms.values())
    return max(_multiply_adds_per_epoch(config) for config in configs) / rate


def _multiply_adds_per_epoch(config: TrialConfig) -> float:
    return 3 * arm_costs(config).forward_flops * config.data.info().train_size


def print_plan(space: Space, slots: int, console: Console, predictions: Predictions) -> None:
    """Arms, trials, parameters per arm, what was excluded and why, and about how long it takes.

    Memory and time are predicted; where a launch has probed an arm, by what was measured.
    """
    search = Search(space)
    counts = Counter(group for group, _ in search.schedule)
    rule = make_scheduler(space.early_stopping, space.search.mode)
    rate = _EFFICIENCY * _multiply_adds_per_second()
    console.print(f"[bold]{space.name}[/bold]: {space.question}\n")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("arm", no_wrap=True)
    for name in ("parameters", "search trials", "s per epoch", "memory"):
        table.add_column(name, justify="right")
    search_s = full_s = longest = 0.0
    for label, arm in space.arms.items():
        config = trial_config(space, arm)
        costs, epochs = arm_costs(config), config.training.epochs
        per_epoch = _multiply_adds_per_epoch(config) / rate
        found = predictions.try_of(arm.config({k: ends(space.tuned[k])[0] for k in arm.tuned}))
        if found is not None and found.epoch_s is not None:
            per_epoch = found.epoch_s
        joint = counts[JOINT] / len(space.arms)
        trials = counts[label] + joint
        search_s += per_epoch * rule.expected_epochs(max(1, round(trials)), epochs)
        full_s += per_epoch * trials * epochs
        longest = max(longest, per_epoch * epochs)
        table.add_row(
            f"{label} (reference)" if label in space.reference_arms else label,
            f"{costs.parameters:,}",
            f"{'about ' if joint else ''}{trials:.0f}",
            f"{per_epoch:.1f}",
            "-" if found is None else memory_text(found.memory_bytes) + " *" * found.is_probed,
        )
    console.print(table)
    console.print(
        "memory        of one process at its highest; * measured by a probe", highlight=False
    )
    for line in _facts(space, search, search_s / full_s):
        console.print(line, markup=False, highlight=False)
    confirm_s = len(contests_of(space)) * space.confirm.seeds * longest
    minutes = (search_s + confirm_s) / slots / 60
    console.print(
        f"time          about {max(1, minutes):.0f} min on this machine's CPU, {slots} trials at "
        "a time (rough: from operations and the speed of a matrix product)",
        highlight=False,
    )


def _facts(space: Space, search: Search, share: float) -> Iterator[str]:
    for each in space.tuned.values():
        scale = ", logarithmic" if each.log else ""
        if each.values is not None:
            span = ", ".join(map(str, each.values))
        else:
            span = f"{each.low:g} to {each.high:g}{scale}"
        yield f"tuned         {each.name}: {span}"
    yield (
        f"search        {search.total} trials ({space.search.sampler}) for {space.search.metric}; "
        f"early stopping ({space.early_stopping['scheduler']}) leaves about {share:.0%} of the epochs"
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


def _multiply_adds_per_second() -> float:
    """Of one thread, on a product of two 256 x 256 matrices; the median of a few."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.ones(256, 256)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return 256**3 / sorted(times)[len(times) // 2]
