"""A study of 10,000 trials: CPU seconds and memory of those who read its journal.

    python -m benchmarks.large_study                          # 1,000 and 10,000 trials
    python -m benchmarks.large_study --trials 10000 --epochs 97 --arms 201 --launches 20

Each figure is of a new process. `fold` computes the state of the study. `view` reads the journal and
writes it to an MLflow that answers at once, whose own share of the time counts too; `followed` does so
in 200 steps, as a view that follows a running study; both without the imports of MLflow and torch.
`report` is what `python -m karat report` does, with its imports.
"""

import argparse
import contextlib
import importlib
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from benchmarks.large_journal import LargeStudy, write
from benchmarks.made_up_mlflow import MadeUpMlflow
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.tracking.record import Record
from karat.tracking.view import View

KIB, MIB = 2**10, 2**20
STEPS = 200
SIZES = (1000, 10_000)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds of a step, and the peak memory of its process."""

    cpu_s: float
    peak_bytes: int


def fold(folder: Path) -> None:
    """Compute the state of a study."""
    StudyState.of(read_events(folder / JOURNAL))


def view(folder: Path, steps: int = 1) -> MadeUpMlflow:
    """Write a study to an MLflow that answers at once, while its journal grows in so many steps."""
    client = MadeUpMlflow()
    with patch("karat.tracking.view.open_client", return_value=client):
        shown = View(folder, "made up")
    with tempfile.TemporaryDirectory(dir=folder) as place, (folder / JOURNAL).open("rb") as whole:
        grown = Path(place) / JOURNAL
        grown.touch()
        record = Record(grown)
        size = (folder / JOURNAL).stat().st_size
        for step in range(1, steps + 1):
            with grown.open("ab") as file:
                file.write(whole.read(size * step // steps - whole.tell()))
            record.read()
            shown.find_experiment(record)
            shown.update(record, alive=step < steps)
        shown.check(record)
    return client


def followed(folder: Path) -> None:
    """Write a study to MLflow in steps."""
    view(folder, STEPS)


def report(folder: Path) -> None:
    """Write a study's report, and print it to nowhere."""
    from karat.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["report", str(folder)]) == 0


def _cost(call: Callable[[Path], object], folder: Path) -> Cost:
    if call in (view, followed):
        for name in ("mlflow.entities", "karat.tracking.models.registry"):
            importlib.import_module(name)
    started = time.process_time()
    call(folder)
    cpu_s = time.process_time() - started
    return Cost(cpu_s=cpu_s, peak_bytes=KIB * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def cost(call: Callable[[Path], object], folder: Path) -> Cost:
    """The cost of a call, in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_cost, call, folder).result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plain = LargeStudy()
    parser.add_argument("--trials", type=int, nargs="+", default=SIZES, help="of the search")
    for name in ("epochs", "metrics", "arms", "seeds", "launches"):
        default = getattr(plain, name)
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    options = parser.parse_args(arguments)
    shape = {name: getattr(options, name) for name in ("epochs", "metrics", "arms", "seeds")}
    print("| trials | events | journal (MiB) | step | CPU (s) | peak memory (MiB) |")
    print("|---|---|---|---|---|---|")
    for trials in options.trials:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "study"
            events = write(folder, LargeStudy(trials=trials, launches=options.launches, **shape))
            size = (folder / JOURNAL).stat().st_size / MIB
            for call in (fold, view, followed, report):
                found = cost(call, folder)
                print(
                    f"| {trials:,} | {events:,} | {size:,.0f} | {call.__name__} "
                    f"| {found.cpu_s:.1f} | {found.peak_bytes / MIB:,.0f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
