"""Writes the journal of a large study, with made-up reports and without waiting for the disk."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from karat.journal.journal import Journal
from tests import journals

Told = tuple[str, dict[str, Any]]  # kind and data of an event
EVENTS_BESIDE_REPORTS = 3  # of each trial: asked, started, ended
CONFIG: dict[str, Any] = {
    "data": {"name": "digits"},
    "model": {"name": "vit_micro", "patch_size": 2},
    "attention": {"basis": "fourier", "grid_size": 3, "block_sharing": "universal"},
    "training": {"recipe": "quick", "epochs": 10, "learning_rate": 0.004},
}


@dataclass(frozen=True, kw_only=True)
class LargeStudy:
    """Size of a completed study.

    Args:
        trials: of the search; each runs to its end.
        epochs: of a trial.
        metrics: of an epoch, at least 2.
        arms: at least 2; the first is the reference, and each other has a level of its own.
        seeds: of the confirmation of each arm.
        launches: starts of the driver.
    """

    trials: int = 10_000
    epochs: int = 10
    metrics: int = 5
    arms: int = 9
    seeds: int = 5
    launches: int = 1

    def events(self) -> Iterator[Told]:
        """All events, in the order in which a driver with one slot writes them."""
        plan = journals.Plan(levels=range(1, self.arms), sharings=("blockwise",))
        arms = journals.arms_of(plan)
        created = journals.created(plan, arms)
        totals = {"search": self.trials, "confirm": self.arms * self.seeds}
        yield "study_created", {**created, "totals": totals}
        numbers = itertools.count()
        each = max(1, self.trials // self.launches)
        for number in itertools.islice(numbers, self.trials):
            if number % each == 0 and number // each < self.launches:
                yield "launched", {"slots": 1, "pid": 1, "environment": {}}
            yield from self._trial(number, "search", arms[number % self.arms], 0)
        yield (
            "confirmation_planned",
            {"cells": list(map(self._cell, arms, range(self.arms)))} | {"skipped": []},
        )
        for index, arm in itertools.product(range(self.seeds), arms):
            yield from self._trial(next(numbers), "confirm", arm, index)
        yield "study_ended", {"status": "completed"}

    def _cell(self, arm: dict[str, Any], trial: int) -> dict[str, Any]:
        tuned = {"training.learning_rate": 0.004}
        level = arm["factors"].get("attention.grid_size")
        found = {"arm": arm["label"], "level": level, "trial": trial, "value": 0.9}
        return {**found, "tuned": tuned, "config": CONFIG}

    def _trial(self, number: int, phase: str, arm: dict[str, Any], index: int) -> Iterator[Told]:
        tuned = {"training.learning_rate": 1e-3 + 1e-7 * number}
        yield (
            "trial_asked",
            {
                "trial": number,
                "phase": phase,
                "arm": arm["label"],
                "factors": arm["factors"],
                "tuned": tuned,
                "config": {
                    **CONFIG,
                    "training": {
                        **CONFIG["training"],
                        "learning_rate": tuned["training.learning_rate"],
                    },
                },
                "seed": index,
                "seed_index": index,
                "epochs": self.epochs,
            },
        )
        segment = {"trial": number, "segment": 0}
        yield "segment_started", {**segment, "from_epoch": 0}
        draw = random.Random(number)
        for epoch in range(1, self.epochs + 1):
            metrics = {"val_accuracy": draw.random(), "val_loss": draw.random()}
            metrics |= {f"metric_{n}": draw.random() for n in range(2, self.metrics)}
            if phase == "confirm" and epoch == self.epochs:
                metrics["test_accuracy"] = draw.random()
            yield "reported", {**segment, "epoch": epoch, "metrics": metrics, "seconds": 2.1}
        yield "trial_ended", {"trial": number, "status": "completed"}


def write(folder: Path, size: LargeStudy) -> int:
    """Write the journal of a study into its folder; the events are a second apart.

    Returns:
        The number of events.
    """
    clock = itertools.count(1_750_000_000)
    count = 0
    with (
        Journal.open(folder, clock=lambda: float(next(clock))) as journal,
        patch("os.fsync"),  # a million of them would take minutes
    ):
        for kind, data in size.events():
            journal.append(kind, **data)
            count += 1
    return count
