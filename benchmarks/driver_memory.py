"""Memory of the driver of a long study, by the number of ended trials, with a real Ray.

    python -m benchmarks.driver_memory --trials 500 --epochs 10

Journal, sampler, Ray Tune and the MLflow view are real. A stand-in replaces training with epochs of
0.02 s, so that most of the time is spent in the engine. 90 seconds on 2 cores.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.journal_drive import MARKS, MIB, resident_bytes
from benchmarks.measuring import machine
from benchmarks.search_engines import karat_ready, space_source
from benchmarks.search_objective import Work
from karat.journal.journal import Event
from karat.journal.state import StudyState

EPOCH_S = 0.02  # as short as the engine's work for an epoch


class Memory:
    """Listens to a study; `read` maps ended trials to the memory of this process in bytes."""

    def __init__(self, trials: int) -> None:
        self._marks = {round(share * trials) for share in MARKS}
        self._ended = 0
        self.read: dict[int, int] = {}

    def __call__(self, event: Event, state: StudyState) -> None:
        if event.kind != "trial_ended":
            return
        self._ended += 1
        if self._ended in self._marks:
            self.read[self._ended] = resident_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.driver_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=500, help="total number (500)")
    parser.add_argument("--epochs", type=int, default=10, help="per trial (10)")
    options = parser.parse_args(arguments)
    memory = Memory(options.trials)
    with (
        tempfile.TemporaryDirectory() as place,
        karat_ready(
            Path(place), space_source(options.trials, options.epochs), Work(seconds=EPOCH_S)
        ) as (study, engine),
    ):
        from benchmarks.search_stand_in import StandInSlot

        study.listeners.append(memory)
        started = time.monotonic()
        engine.run(study, StandInSlot)
        wall_s = time.monotonic() - started
    print(f"{machine()}; {options.trials} trials x {options.epochs} epochs in {wall_s:.0f} s")
    for ended, size in memory.read.items():
        print(f"{size / MIB:.0f} MiB after {ended} trials")
    return 0


if __name__ == "__main__":
    sys.exit(main())
