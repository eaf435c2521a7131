"""Drives a study without Ray, MLflow and training, and measures each step of its driver.

Reports are made up. Each trial is better than the one before, so that ASHA compares all of them
but stops none, and every report arrives.
"""

import os
import random
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import psutil

from karat.journal.journal import Journal
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.description import description
from karat.study.study import Study

SPACE = Path(__file__).parent.parent / "search_spaces" / "fourier_grid.yaml"
SLOTS = 4
MIB = 2**20
MARKS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # shares of the trials after which memory is read
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a study: trials of its search, epochs per trial, metrics per epoch."""

    trials: int = 500
    epochs: int = 100
    metrics: int = 20

    def space(self) -> Space:
        """The space `fourier_grid` with this number of trials and epochs."""
        changes = {"search.trials": str(self.trials), "training.epochs": str(self.epochs)}
        return load_space(SPACE, changes)


@dataclass
class Times:
    """Milliseconds of every call of one kind: in total, and without waiting for the disk."""

    all: "array[float]" = field(default_factory=lambda: array("d"))
    own: "array[float]" = field(default_factory=lambda: array("d"))


class Disk:
    """Replaces `os.fsync`, and adds up how long it takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._fsync = os.fsync

    def __call__(self, file: int) -> None:
        started = time.perf_counter()
        self._fsync(file)
        self.seconds += time.perf_counter() - started


class Drive:
    """Replaces the engine: runs the slots in turn, one epoch at a time, to the end of the search.

    Args:
        study: the study to drive.
        size: its size.
        disk: measures how long its journal waits for the disk.
    """

    def __init__(self, study: Study, size: Size, disk: Disk) -> None:
        self._study, self._size, self._disk = study, size, disk
        self._draw = random.Random(0)
        self.reports, self.segments = Times(), Times()
        self.memory: dict[int, int] = {}

    def run(self) -> None:
        """Run all trials of the search."""
        trials = self._size.trials
        marks = {round(share * trials) for share in MARKS}
        running: list[tuple[int, int]] = []
        asked = ended = 0
        while ended < trials:
            while len(running) < SLOTS and asked < trials:
                segment = self._timed(self.segments, self._study.next_segment)
                assert segment is not None
                running.append((segment.trial, 0))
                asked += 1
            number, epoch = running.pop(0)
            if not self._report(number, epoch + 1):
                running.append((number, epoch + 1))
                continue
            ended += 1
            if ended in marks:
                self.memory[ended] = resident_bytes()

    def _report(self, number: int, epoch: int) -> bool:
        metrics = self._metrics(number, epoch)
        seconds = self._draw.random()
        return self._timed(
            self.reports, lambda: self._study.on_report(number, epoch, metrics, seconds)
        )

    def _metrics(self, number: int, epoch: int) -> Mapping[str, float]:
        value = (number + epoch / (self._size.epochs + 1)) / self._size.trials
        others = {f"metric_{n}": self._draw.random() for n in range(2, self._size.metrics)}
        return {"val_accuracy": value, "val_loss": 1 - value, **others}

    def _timed(self, times: Times, call: Callable[[], Result]) -> Result:
        waited, started = self._disk.seconds, time.perf_counter()
        result = call()
        taken = time.perf_counter() - started
        times.all.append(1e3 * taken)
        times.own.append(1e3 * (taken - (self._disk.seconds - waited)))
        return result


def drive(folder: Path, size: Size) -> Drive:
    """Run a new study in `folder` to the end of its search."""
    space, disk = size.space(), Disk()
    with Journal.open(folder) as journal, patch("os.fsync", disk):
        study = Study(space, journal, folder)
        study.record("study_created", **description(space, "made up"))
        done = Drive(study, size, disk)
        done.run()
    return done


def resident_bytes() -> int:
    """Resident memory of this process."""
    size: int = psutil.Process().memory_info().rss
    return size
