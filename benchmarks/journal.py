"""Cost of a long study for its driver: milliseconds per event, seconds to resume, memory.

    python -m benchmarks.journal --trials 500 --epochs 100 --metrics 20

The study, its journal on disk, TPE and ASHA are real. The reports are made up, without Ray, MLflow
or training.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.journal_drive import MIB, Drive, Size, Times, drive, resident_bytes
from benchmarks.measuring import machine
from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.study.study import Study

# What a figure is held to: medians in milliseconds by step, and seconds for the whole study.
REPORT_BOUNDS_MS = {"with fsync": 5.0, "without fsync": 1.0}
FOLD_BOUND_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Seconds that a new process takes to open the study, and the growth of its memory."""

    fold_s: float
    study_s: float
    grown_bytes: int


def resume(folder: Path, size: Size) -> Resumed:
    """Open the study as a resuming driver does, then fold its journal alone."""
    space, before = size.space(), resident_bytes()
    started = time.perf_counter()
    with Journal.open(folder) as journal:
        study = Study(space, journal, folder)
        opened, grown = time.perf_counter(), resident_bytes() - before
        state = StudyState.of(read_events(folder / JOURNAL))
        folded = time.perf_counter()
    assert len(state.trials) == len(study.state.trials) == size.trials
    return Resumed(fold_s=folded - opened, study_s=opened - started, grown_bytes=grown)


def resume_in_new_process(folder: Path, size: Size) -> Resumed:
    """The same in a new process, whose memory contains nothing of the first run."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(resume, folder, size).result()


def figures(times: Times) -> dict[str, dict[str, float]]:
    """Median, mean and 99th percentile in milliseconds, with and without the disk."""
    return {
        name: {
            "median": statistics.median(each),
            "mean": statistics.fmean(each),
            "p99": statistics.quantiles(each, n=100)[-1],
        }
        for name, each in (("with fsync", times.all), ("without fsync", times.own))
    }


def data_of(size: Size, done: Drive, resumed: Resumed, file_bytes: int) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "machine": machine(),
        **asdict(size),
        "ms": {"report": figures(done.reports), "next trial": figures(done.segments)},
        "memory_mib": {trials: memory / MIB for trials, memory in done.memory.items()},
        "file_mib": file_bytes / MIB,
        "fold_s": resumed.fold_s,
        "study_reopened_s": resumed.study_s,
        "memory_of_reopened_mib": resumed.grown_bytes / MIB,
    }


def text_of(data: dict[str, Any]) -> str:
    """What is printed without `--json`."""
    lines = [
        data["machine"],
        f"{data['trials']} trials x {data['epochs']} epochs x {data['metrics']} metrics; "
        f"the journal has {data['file_mib']:.1f} MiB",
        "",
        "| step (ms) | disk | median | mean | p99 | bound of the median |",
        "|---|---|---|---|---|---|",
    ]
    for step, both in data["ms"].items():
        for which, ms in both.items():
            numbers = " | ".join(f"{ms[name]:.3f}" for name in ("median", "mean", "p99"))
            bound = REPORT_BOUNDS_MS[which] if step == "report" else None
            told = "" if bound is None else f"{bound:g}: {_kept(bound, ms['median'])}"
            lines.append(f"| {step} | {which} | {numbers} | {told} |")
    memory = ", ".join(f"{size:.0f} after {n}" for n, size in data["memory_mib"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"memory (MiB) by ended trials: {memory}",
            f"journal folded in {data['fold_s']:.2f} s (bound {FOLD_BOUND_S:g} s: "
            f"{_kept(FOLD_BOUND_S, data['fold_s'])}); study reopened in "
            f"{data['study_reopened_s']:.2f} s, with {data['memory_of_reopened_mib']:.0f} MiB of memory",
        ]
    )


def _kept(bound: float, found: float) -> str:
    return "kept" if found < bound else "BROKEN"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.journal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plain = Size()
    parser.add_argument(
        "--trials", type=int, default=plain.trials, help="trials of the search (500)"
    )
    parser.add_argument("--epochs", type=int, default=plain.epochs, help="epochs per trial (100)")
    parser.add_argument("--metrics", type=int, default=plain.metrics, help="metrics per epoch (20)")
    parser.add_argument(
        "--folder", type=Path, help="folder on the disk to measure (the system's temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)
    size = Size(trials=options.trials, epochs=options.epochs, metrics=options.metrics)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place) / "study"
        done = drive(folder, size)
        data = data_of(
            size, done, resume_in_new_process(folder, size), (folder / JOURNAL).stat().st_size
        )
    print(json.dumps(data, indent=1) if options.json else text_of(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
