"""The benchmark's search by karat: the whole of it, with journal, sampler and MLflow view."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.search_objective import EPOCHS, HIGH, LOW, PLATEAUS, Ended, Search, Work
from karat.execution.engine import Engine
from karat.journal.journal import Journal
from karat.space.reader import SpaceFile
from karat.space.yaml_reader import Document
from karat.study.description import description
from karat.study.study import Study
from karat.tracking.supervisor import Supervisor

SEEDS = 2  # of the confirmation, for each of the two arms


def space_source(trials: int, epochs: int = EPOCHS, seeds: int = SEEDS) -> dict[str, Any]:
    """A search and a confirmation with `seeds`, `trials` in total, of `epochs` each."""
    return {
        "study": "search-benchmark",
        "data": {"name": "digits"},
        "model": {"name": "vit_micro", "patch_size": 4, "embed_dim": 12, "depth": 1},
        "attention": {"rank": 4},
        "training": {"recipe": "quick", "epochs": epochs},
        "factors": {"attention.basis": list(PLATEAUS)},
        "tuned": {"training.learning_rate": {"low": LOW, "high": HIGH, "log": True}},
        "search": {"sampler": "tpe", "trials": trials - seeds * len(PLATEAUS)},
        "confirm": {"seeds": seeds},
    }


@contextmanager
def karat_ready(
    folder: Path, source: dict[str, Any], work: Work, slots: int | None = None
) -> Iterator[tuple[Study, Engine]]:
    """A new study and its engine with the MLflow view, set up as in `karat.cli.driver`, not run.

    With `tracking: {follow: false}` there is no view.

    Args:
        folder: of all studies.
        source: of the search space.
        work: of an epoch.
        slots: trials at a time; None for one on each core.
    """
    work.announce()
    space = SpaceFile(Document(source, {}), "benchmark").read()
    with Journal.open(folder / space.name) as journal:
        study = Study(space, journal, folder / space.name)
        study.record("study_created", **description(space, "made up"))
        supervisor = Supervisor(study.folder, Console(quiet=True))
        if space.tracking.follow:
            study.listeners.append(supervisor.on_event)
        own = Engine(space.resources)
        own.slots = slots or own.slots
        view = supervisor if space.tracking.follow else nullcontext()
        with view, own as engine:
            study.record("launched", slots=engine.slots, environment={}, terms=asdict(space.terms))
            yield study, engine


def by_karat(folder: Path, trials: int, work: Work, slots: int | None = None) -> Search:
    """All of karat: journal, sampler, and the MLflow view in its process."""
    started = time.time()
    with karat_ready(folder, space_source(trials), work, slots) as (study, engine):
        ready = time.time()
        from benchmarks.search_stand_in import StandInSlot

        engine.run(study, StandInSlot)
    state = study.state
    moments = [t.ended_at for t in state.trials.values() if t.ended_at is not None]
    ended = [
        Ended(at_s=t.ended_at - ready, value=t.last("val_accuracy") or 0.0, trained_s=t.seconds)
        for t in state.trials.values()
        if t.status == "completed" and t.ended_at is not None
    ]
    return Search(
        name="karat",
        ended=tuple(sorted(ended, key=lambda each: each.at_s)),
        failed=len(state.trials) - len(ended),
        start_s=ready - started,
        wall_s=max(moments) - ready,
        slots=engine.slots,
    )
