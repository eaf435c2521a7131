"""Searches with two goals on a made-up objective: the hypervolume of what they find, beside Optuna's own NSGA-II.

    python -m benchmarks.goals

The objective stands for accuracy against parameters: a model of rank r and width w has about r * w parameters; accuracy grows with both and
falls with the distance from a learning rate that depends on the width. No noise. The hypervolume is the area that the found
front dominates, as a share of that of a grid of 40 x 40 x 40 configurations, from the point (0.5, 1).
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from benchmarks.measuring import machine
from benchmarks.samplers import mean_text
from karat.samplers import SAMPLERS, Turn
from karat.seeds import derive

SPACE: dict[str, BaseDistribution] = {
    "rank": IntDistribution(1, 32),
    "width": IntDistribution(8, 128, log=True),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}
WORST = (0.5, 1.0)  # accuracy and parameters, as a share of the most
MakeSampler = Callable[[int], optuna.samplers.BaseSampler]  # of the proposal with this number
NAMES = (
    "tpe",
    "nsga2",
    "qmc",
    "random",
)  # not `gp`, which takes seconds for a proposal with two goals


def objective(params: Mapping[str, Any]) -> tuple[float, float]:
    """Accuracy, of which high values are good, and parameters as a share of the most, of which low ones are."""
    rank, width = params["rank"] / 32, math.log(params["width"] / 8) / math.log(16)
    best = 3e-3 * 10 ** (0.5 - width)
    off = math.log10(params["rate"] / best) / 3
    accuracy = 0.98 - 0.2 * math.exp(-4 * rank) - 0.25 * math.exp(-3 * width) - 0.6 * off**2
    return accuracy, params["rank"] * params["width"] / (32 * 128)


def hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """The area between `WORST` and what the points dominate; accuracy up, parameters down."""
    area, reached = 0.0, WORST[0]
    # From the fewest parameters on; what is not more accurate than before adds nothing.
    for accuracy, size in sorted(points, key=lambda point: (point[1], -point[0])):
        if accuracy > reached and size < WORST[1]:
            area += (accuracy - reached) * (WORST[1] - size)
            reached = accuracy
    return area


def most() -> float:
    """The hypervolume of a grid."""
    ranks = np.unique(np.linspace(1, 32, 40).round())
    widths, rates = np.geomspace(8, 128, 40).round(), np.geomspace(1e-4, 1e-1, 40)
    grid = itertools.product(ranks, widths, rates)
    return hypervolume(objective({"rank": r, "width": w, "rate": x}) for r, w, x in grid)


def karat_sampler(name: str, seed: int, trials: int) -> MakeSampler:
    """A sampler of karat, as a study makes it for each proposal."""

    def make(number: int) -> optuna.samplers.BaseSampler:
        turn = Turn(
            seed=derive(seed, "sampler", number),
            series=derive(seed, "series"),
            index=number,
            trials=trials,
            parameters=SPACE,
        )
        return SAMPLERS[name].make(turn)

    return make


def found_by(make: MakeSampler, trials: int) -> float:
    """The hypervolume of a search."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    points = []
    for number in range(trials):
        study.sampler = make(number)
        trial = study.ask(SPACE)
        points.append(objective(trial.params))
        study.tell(trial, points[-1])
    return hypervolume(points)


def of_optuna(seed: int, trials: int) -> float:
    """The same of Optuna's NSGA-II with its defaults."""
    sampler = optuna.samplers.NSGAIISampler(seed=seed)
    return found_by(lambda _: sampler, trials)


def shares(name: str, seeds: Sequence[int], trials: int, whole: float) -> list[float]:
    """Hypervolumes of a sampler of karat, or of Optuna's NSGA-II (`optuna`), in percent of `whole`."""
    if name == "optuna":
        return [100 * of_optuna(seed, trials) / whole for seed in seeds]
    return [100 * found_by(karat_sampler(name, seed, trials), trials) / whole for seed in seeds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="(20)")
    parser.add_argument("--trials", type=int, nargs="+", default=(30, 60, 120))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started, whole = time.perf_counter(), most()
    print(f"| sampler | {' | '.join(f'{count} trials' for count in options.trials)} |")
    print(f"|---|{'---|' * len(options.trials)}")
    for name in (*NAMES, "optuna"):
        cells = [mean_text(shares(name, range(options.seeds), n, whole)) for n in options.trials]
        shown = "Optuna's NSGA-II, its defaults" if name == "optuna" else name
        print(f"| {shown} | {' | '.join(cells)} |", flush=True)
    print(f"\n{machine()}; {options.seeds} seeds; {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
