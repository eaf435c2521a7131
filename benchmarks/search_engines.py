"""The same search by karat, by Ray Tune with OptunaSearch (as in its manual), and by Optuna alone."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.search_objective import (
    EPOCHS,
    HIGH,
    LOW,
    PLATEAUS,
    Ended,
    Search,
    value_of,
    work,
)
from karat.execution.engine import Engine
from karat.journal.journal import Journal
from karat.space.reader import SpaceFile
from karat.space.yaml_reader import Document
from karat.study.description import description
from karat.study.study import Study
from karat.tracking.supervisor import Supervisor

RAY_TUNE_S = 100  # a busy machine takes minutes for its trials; those that ended count
SEEDS = 2  # of the confirmation, for each of the two arms


def space_source(trials: int, epochs: int = EPOCHS) -> dict[str, Any]:
    """A search and a confirmation with two seeds, `trials` in total, of `epochs` each."""
    return {
        "study": "search-benchmark",
        "data": {"name": "digits"},
        "model": {"name": "vit_micro", "patch_size": 4, "embed_dim": 12, "depth": 1},
        "attention": {"rank": 4},
        "training": {"recipe": "quick", "epochs": epochs},
        "factors": {"attention.basis": list(PLATEAUS)},
        "tuned": {"training.learning_rate": {"low": LOW, "high": HIGH, "log": True}},
        "search": {"sampler": "tpe", "trials": trials - SEEDS * len(PLATEAUS)},
        "confirm": {"seeds": SEEDS},
    }


@contextmanager
def karat_ready(folder: Path, source: dict[str, Any]) -> Iterator[tuple[Study, Engine]]:
    """A new study and its engine with the MLflow view, set up as in `karat.cli.driver`, not run."""
    space = SpaceFile(Document(source, {}), "benchmark").read()
    with Journal.open(folder / space.name) as journal:
        study = Study(space, journal, folder / space.name)
        study.record("study_created", **description(space, "made up"))
        supervisor = Supervisor(study.folder, Console(quiet=True))
        study.listeners.append(supervisor.on_event)
        with supervisor, Engine(space.resources) as engine:
            study.record("launched", slots=engine.slots, environment={}, terms=asdict(space.terms))
            yield study, engine


def by_karat(folder: Path, trials: int) -> Search:
    """All of karat: journal, sampler, and the MLflow view in its process."""
    started = time.time()
    with karat_ready(folder, space_source(trials)) as (study, engine):
        ready = time.time()
        from benchmarks.search_stand_in import StandInTrainable

        engine.run(study, StandInTrainable)
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


def objective_of_ray(config: dict[str, Any]) -> None:
    """A function trainable, as Ray Tune's manual shows it."""
    import torch
    from ray import tune

    torch.set_num_threads(1)
    trained = 0.0
    for epoch in range(1, EPOCHS + 1):
        trained += work()
        value = value_of(config["basis"], config["learning_rate"], epoch)
        tune.report({"value": value, "trained_s": trained})


def by_ray_tune(folder: Path, trials: int, slots: int) -> Search:
    """`Tuner` with `OptunaSearch`, on a local Ray that is closed to the network like karat's."""
    started = time.time()
    from karat.execution.local_ray import close_environment, start_ray
    from karat.system.tempdir import make_tempdir

    close_environment()
    scratch = make_tempdir()
    start_ray(scratch, cpus=slots)
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ready = time.time()
    tuner = tune.Tuner(
        objective_of_ray,
        param_space={
            "basis": tune.choice(list(PLATEAUS)),
            "learning_rate": tune.loguniform(LOW, HIGH),
        },
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(),
            metric="value",
            mode="max",
            num_samples=trials,
            time_budget_s=RAY_TUNE_S,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), name="ray", verbose=0),
    )
    results = tuner.fit()
    wall_s = time.time() - ready
    ended = [
        Ended(
            at_s=float(each.metrics["timestamp"]) - ready,
            value=each.metrics["value"],
            trained_s=each.metrics["trained_s"],
        )
        for each in results
        if each.error is None and (each.metrics or {}).get("training_iteration") == EPOCHS
    ]
    ray.shutdown()
    shutil.rmtree(scratch, ignore_errors=True)
    return Search(
        name="ray_tune",
        ended=tuple(sorted(ended, key=lambda each: each.at_s)),
        failed=sum(each.error is not None for each in results),
        start_s=ready - started,
        wall_s=wall_s,
        slots=slots,
    )


def by_optuna(trials: int, slots: int) -> Search:
    """`study.optimize` with one thread per slot and no storage."""
    started = time.time()
    import optuna

    study = optuna.create_study(direction="maximize")
    ready = time.time()

    def objective(trial: optuna.Trial) -> float:
        basis = trial.suggest_categorical("basis", list(PLATEAUS))
        rate = trial.suggest_float("learning_rate", LOW, HIGH, log=True)
        trained = 0.0
        for epoch in range(1, EPOCHS + 1):
            trained += work()
            trial.report(value_of(basis, rate, epoch), epoch)
        trial.set_user_attr("trained_s", trained)
        return value_of(basis, rate, EPOCHS)

    study.optimize(objective, n_trials=trials, n_jobs=slots)
    wall_s = time.time() - ready
    ended = [
        Ended(
            at_s=each.datetime_complete.timestamp() - ready,
            value=each.value,
            trained_s=each.user_attrs["trained_s"],
        )
        for each in study.trials
        if each.value is not None and each.datetime_complete is not None
    ]
    return Search(
        name="optuna",
        ended=tuple(sorted(ended, key=lambda each: each.at_s)),
        failed=trials - len(ended),
        start_s=ready - started,
        wall_s=wall_s,
        slots=slots,
    )
