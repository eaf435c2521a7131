"""How many workers one driver can serve: a plan on 1 to 10,000 workers on a virtual clock.

    python -m benchmarks.scaling                                # a table
    python -m benchmarks.scaling --out docs/scaling.png         # and its figure

The driver handles reports one after the other and needs `--driver-ms` for each, including Ray Tune,
the journal and the next trial. Plan and early stopping are real, curves are modelled.
`python -m karat simulate` also runs the journal.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from karat.forecast.curves import ModelledCurves
from karat.forecast.schedule import arms_in_order, run_plan
from karat.space.reader import load_space

SPACE = Path(__file__).parent.parent / "search_spaces" / "fourier_grid.yaml"
WORKERS = (1, 4, 16, 64, 100, 200, 500, 1000, 2000, 5000, 10_000)
EPOCHS_S = (1.0, 10.0, 60.0, 600.0)


def speed_ups(
    trials: int, driver_s: float, workers: Sequence[int]
) -> dict[float, list[tuple[int, float]]]:
    """Speed-up over one worker for each number of workers, by the seconds of an epoch."""
    overrides = {
        "search.trials": str(trials),
        "search.sampler": "random",
        "early_stopping": "{scheduler: asha, grace_epochs: 2, reduction_factor: 3}",
    }
    space = load_space(SPACE, overrides)
    schedule = arms_in_order(space, 0)
    lengths = dict.fromkeys(space.arms, 10)
    found = {}
    for epoch_s in EPOCHS_S:
        curves = ModelledCurves(0, dict.fromkeys(space.arms, epoch_s))
        runs = [run_plan(space, schedule, lengths, curves, n, driver_s) for n in workers]
        found[epoch_s] = [(n, r.slot_s / r.wall_s) for n, r in zip(workers, runs, strict=True)]
    return found


def draw(found: dict[float, list[tuple[int, float]]], driver_s: float, path: Path) -> None:
    """Write the figure: speed-up against workers, and the limit of the driver."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), dpi=100)
    workers = [n for n, _ in next(iter(found.values()))]
    axes.plot(workers, workers, color="0.7", linestyle=":", label="ideal")
    for epoch_s, points in found.items():
        (line,) = axes.plot(*zip(*points, strict=True), marker="o", markersize=3)
        line.set_label(f"epochs of {epoch_s:g} s")
        axes.axhline(epoch_s / driver_s, color=line.get_color(), linewidth=0.7, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="speed-up", ylim=(0.7, 2e4))
    axes.set_title(f"One driver at {1e3 * driver_s:g} ms a report; dashed: epoch / report")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print, draw, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=30_000, help="trials of the search (30,000)")
    parser.add_argument("--driver-ms", type=float, default=10, help="driver time per report (10)")
    parser.add_argument("--out", type=Path, help="PNG file for the figure")
    options = parser.parse_args(arguments)
    found = speed_ups(options.trials, options.driver_ms / 1e3, WORKERS)
    print("| workers | " + " | ".join(f"epochs of {each:g} s" for each in found) + " |")
    print("|---" * (1 + len(found)) + "|")
    for place, count in enumerate(WORKERS):
        row = (f"{points[place][1]:,.0f}" for points in found.values())
        print(f"| {count:,} | " + " | ".join(row) + " |")
    if options.out is not None:
        draw(found, options.driver_ms / 1e3, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
