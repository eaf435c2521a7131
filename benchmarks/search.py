"""The overhead of an engine per trial: karat, Ray Tune with OptunaSearch, and Optuna alone.

    python -m benchmarks.search            # a table, in under 3 minutes on 2 cores
    python -m benchmarks.search --json

All three run the same objective, one after the other: 5 reports of 0.2 s each, in which a thread
multiplies matrices. karat also writes its journal and keeps MLflow up to date. Ray Tune runs a
function trainable, as its manual shows. Optuna runs threads and writes nothing. Overhead is the
slot time per trial in which nothing is trained, from the moment at which trials can be started to
the end of the last one. `steady` excludes the first trial of each slot, which waits for a process.
A function trainable starts a process for every trial, so Ray Tune runs fewer trials here.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import machine
from benchmarks.search_engines import by_karat, by_optuna, by_ray_tune
from benchmarks.search_objective import EPOCH_S, EPOCHS, Search, best_possible

MARKS_S = (5, 10, 20, 30, 45, 60)


def search_by_all(folder: Path, trials: int, ray_trials: int, optuna_trials: int) -> list[Search]:
    """Run the three, one after the other."""
    ours = by_karat(folder, trials)
    theirs = by_ray_tune(folder, ray_trials, ours.slots)
    return [ours, theirs, by_optuna(optuna_trials, ours.slots)]


def data_of(searches: Sequence[Search]) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "best_possible": best_possible(),
        **{
            each.name: {
                "overhead_s_per_trial": each.overhead_s_per_trial,
                "steady_s_per_trial": each.steady_s_per_trial,
                "trials": len(each.ended) + each.failed,
                "failed": each.failed,
                "slots": each.slots,
                "trials_per_second": len(each.ended) / each.wall_s,
                "start_s": each.start_s,
                "wall_s": each.wall_s,
                "best": each.best_at(each.wall_s + 1),
                "best_at_s": {str(at): each.best_at(at) for at in MARKS_S},
            }
            for each in searches
        },
    }


def text_of(data: dict[str, Any]) -> str:
    """What is printed without `--json`."""
    names = [name for name in ("karat", "ray_tune", "optuna") if name in data]
    lines = [
        f"{data['machine']}, load {data['load_average']:.1f}; {EPOCHS} reports of {EPOCH_S} s",
        "",
        "| engine | trials | failed | overhead (s/trial) | steady (s/trial) | trials/s | start (s) | wall (s) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        found = data[name]
        steady = found["steady_s_per_trial"]
        lines.append(
            f"| {name} | {found['trials']} | {found['failed']} | {found['overhead_s_per_trial']:.3f} "
            f"| {'-' if steady is None else f'{steady:.3f}'} | {found['trials_per_second']:.2f} "
            f"| {found['start_s']:.1f} | {found['wall_s']:.1f} |"
        )
    lines += ["", "| best after (s) | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for at in map(str, MARKS_S):
        values = (data[name]["best_at_s"][at] for name in names)
        shown = " | ".join("-" if value is None else f"{value:.4f}" for value in values)
        lines.append(f"| {at} | {shown} |")
    return "\n".join([*lines, "", f"the best possible value is {data['best_possible']:.4f}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=120, help="trials of karat (120)")
    parser.add_argument("--ray-trials", type=int, default=8, help="trials of Ray Tune (8)")
    parser.add_argument("--optuna-trials", type=int, default=40, help="trials of Optuna (40)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # so that MLflow's database is beside the studies
    with tempfile.TemporaryDirectory() as place:
        searches = search_by_all(
            Path(place), options.trials, options.ray_trials, options.optuna_trials
        )
    data = data_of(searches)
    print(json.dumps(data, indent=1) if options.json else text_of(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
