"""The overhead of an engine per trial: karat, Ray Tune with OptunaSearch, and Optuna alone.

    python -m benchmarks.search                       # a table, in three minutes on 2 cores
    python -m benchmarks.search --sweep               # by length of the trials, slots and load: an hour
    python -m benchmarks.search --json

All run the same objective, one after the other: trials of 5 reports, in which a thread multiplies
matrices (or sleeps, with `--sleep`). karat also writes its journal and keeps MLflow up to date. The
rivals are in their best form: Ray Tune with a class trainable and reused processes, Optuna in
processes that share a journal file. `--all` adds their common forms: a function trainable, as Ray
Tune's manual shows it, which starts a process for each trial, and Optuna in threads without storage.
Overhead is the slot time per trial in which nothing is trained, from the moment at which trials can
be started to the end of the last one. `steady` excludes the first trial of each slot, which waits for
a process.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import machine
from benchmarks.search_engines import by_karat
from benchmarks.search_objective import EPOCHS, Search, Work, best_possible
from benchmarks.search_rivals import by_optuna_processes, by_optuna_threads, by_ray_tune

MARKS_S = (5, 10, 20, 30, 45, 60)
FUNCTION_TRIALS = 8  # of a function trainable, which takes seconds for each
SWEEP_S = (0.3, 1.0, 3.0, 10.0)  # lengths of trials
SWEEP_SLOTS = (2, 8)  # of trials that sleep
LASTS_S = 30.0  # of each engine in the sweep


def search_by_all(
    folder: Path, trials: int, work: Work, slots: int | None = None, *, all_forms: bool = False
) -> list[Search]:
    """Run the engines one after the other.

    Args:
        folder: for their results.
        trials: of each.
        work: of an epoch.
        slots: trials at a time; None for one on each core.
        all_forms: whether to run the rivals' common forms too.
    """
    ours = by_karat(folder, trials, work, slots)
    found = [ours, by_ray_tune(folder, trials, work, ours.slots, reuse=True)]
    found.append(by_optuna_processes(trials, work, ours.slots))
    if all_forms:
        few = min(trials, FUNCTION_TRIALS)
        found.append(by_ray_tune(folder, few, work, ours.slots, reuse=False))
        found.append(by_optuna_threads(trials, work, ours.slots))
    return found


def data_of(searches: Sequence[Search], work: Work) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "work": work.text,
        "best_possible": best_possible(),
        "engines": {
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
    engines = data["engines"]
    slots = next(iter(engines.values()))["slots"]
    lines = [
        f"{data['machine']}, load {data['load_average']:.1f}; {data['work']}, {slots} slots",
        "",
        "| engine | trials | failed | overhead (s/trial) | steady (s/trial) | trials/s | start (s) | wall (s) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in engines.items():
        steady = found["steady_s_per_trial"]
        lines.append(
            f"| {name} | {found['trials']} | {found['failed']} | {found['overhead_s_per_trial']:.3f} "
            f"| {'-' if steady is None else f'{steady:.3f}'} | {found['trials_per_second']:.2f} "
            f"| {found['start_s']:.1f} | {found['wall_s']:.1f} |"
        )
    lines += ["", "| best after (s) | " + " | ".join(engines) + " |"]
    lines.append("|---" * (1 + len(engines)) + "|")
    for at in map(str, MARKS_S):
        values = (found["best_at_s"][at] for found in engines.values())
        shown = " | ".join("-" if value is None else f"{value:.4f}" for value in values)
        lines.append(f"| {at} | {shown} |")
    return "\n".join([*lines, "", f"the best possible value is {data['best_possible']:.4f}"])


def sweep(folder: Path) -> Iterator[tuple[str, list[Search]]]:
    """The engines by length of the trials, slots and load; each with its description."""
    settings: list[tuple[bool, int | None]] = [(False, None)]
    settings += [(True, slots) for slots in SWEEP_SLOTS]
    for is_loaded in (False, True):
        with _load(is_loaded):
            for sleeps, slots in settings:
                for seconds in SWEEP_S:
                    work = Work(seconds=seconds / EPOCHS, sleeps=sleeps)
                    count = max(3, round(LASTS_S / seconds)) * (slots or os.cpu_count() or 1)
                    with tempfile.TemporaryDirectory(dir=folder) as place:
                        found = search_by_all(Path(place), min(count, 120), work, slots)
                    loaded = ", another process takes a core" if is_loaded else ""
                    yield f"{work.text}, {found[0].slots} slots{loaded}", found


def row_of(description: str, searches: Sequence[Search]) -> str:
    """A row of the sweep's table: seconds per trial after the first of each slot."""
    steady = (each.steady_s_per_trial for each in searches)
    shown = ("-" if value is None else f"{value:.3f}" for value in steady)
    return f"| {description} | {len(searches[0].ended)} | {' | '.join(shown)} |"


@contextmanager
def _load(is_loaded: bool) -> Iterator[None]:
    """Another process that takes a core, if asked for."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    if is_loaded:
        process.start()
    try:
        yield
    finally:
        if is_loaded:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=60, help="of each engine (60)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial (1)")
    parser.add_argument("--slots", type=int, help="trials at a time (one on each core)")
    parser.add_argument("--sleep", action="store_true", help="trials sleep instead of working")
    parser.add_argument("--load", action="store_true", help="with another process on one core")
    parser.add_argument("--all", action="store_true", help="the rivals' common forms too")
    parser.add_argument("--sweep", action="store_true", help="lengths, slots and load in turn")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # so that MLflow's database is beside the studies
    work = Work(seconds=options.seconds / EPOCHS, sleeps=options.sleep)
    with tempfile.TemporaryDirectory() as place:
        if options.sweep:
            print("| trials | number | karat | ray_tune | optuna |\n|---|---|---|---|---|")
            for description, found in sweep(Path(place)):
                print(row_of(description, found), flush=True)
            return 0
        with _load(options.load):
            searches = search_by_all(
                Path(place), options.trials, work, options.slots, all_forms=options.all
            )
    data = data_of(searches, work)
    print(json.dumps(data, indent=1) if options.json else text_of(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
