"""The benchmark's search by Ray Tune with OptunaSearch, and by Optuna alone: each in its best form.

* Ray Tune with a class trainable and `reuse_actors`, which keeps its processes, and for comparison
  with a function trainable, as its manual shows: it starts a process for each trial.
* Optuna in several processes that share a journal file, which is how its manual distributes a study,
  and in threads without storage, which share one Python.
"""

import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.search_objective import EPOCHS, HIGH, LOW, PLATEAUS, Ended, Search, Work, value_of

if TYPE_CHECKING:
    import optuna

RAY_TUNE_S = 100  # a busy machine takes minutes for a process per trial; trials that ended count


def _function(config: dict[str, Any]) -> None:
    """A function trainable, as Ray Tune's manual shows it."""
    import torch
    from ray import tune

    torch.set_num_threads(1)
    trained = 0.0
    for epoch in range(1, EPOCHS + 1):
        trained += config["work"]()
        value = value_of(config["basis"], config["learning_rate"], epoch)
        tune.report({"value": value, "trained_s": trained})


def _class() -> type:
    """A class trainable whose process is reused; defined here, since its base is Ray's."""
    import torch
    from ray import tune

    class Trainable(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            torch.set_num_threads(1)
            self.reset_config(config)

        def reset_config(self, config: dict[str, Any]) -> bool:
            self._config, self._epoch, self._trained = config, 0, 0.0
            return True

        def step(self) -> dict[str, Any]:
            self._epoch += 1
            self._trained += self._config["work"]()
            config = self._config
            value = value_of(config["basis"], config["learning_rate"], self._epoch)
            return {"value": value, "trained_s": self._trained, "done": self._epoch == EPOCHS}

    return Trainable


@contextmanager
def _ray(slots: int) -> Iterator[None]:
    """A local Ray that is closed to the network, as karat's."""
    from karat.execution.local_ray import close_environment, start_ray
    from karat.system.tempdir import make_tempdir

    close_environment()
    scratch = make_tempdir()
    start_ray(scratch, cpus=slots)
    try:
        yield
    finally:
        import ray

        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def by_ray_tune(folder: Path, trials: int, work: Work, slots: int, *, reuse: bool) -> Search:
    """`Tuner` with `OptunaSearch`.

    Args:
        folder: of Tune's results.
        trials: their number.
        work: of an epoch.
        slots: trials at a time.
        reuse: whether to take a class trainable and keep the processes, or a function trainable.
    """
    started = time.time()
    with _ray(slots):
        from ray import tune
        from ray.tune.search.optuna import OptunaSearch

        ready = time.time()
        name = "ray_tune" if reuse else "ray_tune_function"
        tuner = tune.Tuner(
            _class() if reuse else _function,
            param_space={
                "basis": tune.choice(list(PLATEAUS)),
                "learning_rate": tune.loguniform(LOW, HIGH),
                "work": work,
            },
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(),
                metric="value",
                mode="max",
                num_samples=trials,
                max_concurrent_trials=slots,
                reuse_actors=reuse,
                time_budget_s=None if reuse else RAY_TUNE_S,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name=name,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
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
    return Search(
        name=name,
        ended=tuple(sorted(ended, key=lambda each: each.at_s)),
        failed=sum(each.error is not None for each in results),
        start_s=ready - started,
        wall_s=wall_s,
        slots=slots,
    )


def _objective(trial: "optuna.Trial", work: Work) -> float:
    basis = trial.suggest_categorical("basis", list(PLATEAUS))
    rate = trial.suggest_float("learning_rate", LOW, HIGH, log=True)
    trained = 0.0
    for epoch in range(1, EPOCHS + 1):
        trained += work()
        trial.report(value_of(basis, rate, epoch), epoch)
    trial.set_user_attr("trained_s", trained)
    return value_of(basis, rate, EPOCHS)


def _open(journal: Path) -> "optuna.Study":
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(
        study_name="s", storage=storage, direction="maximize", load_if_exists=True
    )


def _process(journal: Path, trials: int, work: Work) -> None:
    """One of Optuna's processes: runs trials until there are enough of all together."""
    import optuna
    import torch
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    torch.set_num_threads(1)
    counted = (TrialState.COMPLETE, TrialState.RUNNING)
    enough = MaxTrialsCallback(trials, states=counted)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _open(journal).optimize(lambda trial: _objective(trial, work), callbacks=[enough])


def by_optuna_processes(trials: int, work: Work, slots: int) -> Search:
    """A process for each slot; they share the study by Optuna's journal storage."""
    started = time.time()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        journal = Path(place) / "optuna.log"
        _open(journal)
        processes = [
            context.Process(target=_process, args=(journal, trials, work)) for _ in range(slots)
        ]
        ready = time.time()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return _search_of("optuna", _open(journal), ready, ready - started, slots)


def by_optuna_threads(trials: int, work: Work, slots: int) -> Search:
    """`study.optimize` with one thread per slot and no storage."""
    started = time.time()
    import optuna

    study = optuna.create_study(direction="maximize")
    ready = time.time()
    study.optimize(lambda trial: _objective(trial, work), n_trials=trials, n_jobs=slots)
    return _search_of("optuna_threads", study, ready, ready - started, slots)


def _search_of(
    name: str, study: "optuna.Study", ready: float, start_s: float, slots: int
) -> Search:
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
        name=name,
        ended=tuple(sorted(ended, key=lambda each: each.at_s)),
        failed=len(study.trials) - len(ended),
        start_s=start_s,
        wall_s=max((each.at_s for each in ended), default=0.0),
        slots=slots,
    )
