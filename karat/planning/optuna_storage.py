"""The search as Optuna studies in a storage, for programs that show them; karat itself never reads it."""

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.planning.plans.drawing import directions_of, distribution
from karat.space.space import Space
from karat.space.stopping import group_of

_STATES = {
    "completed": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
    "waiting": TrialState.RUNNING,
}


def write_optuna(state: StudyState, space: Space, file: Path) -> list[str]:
    """Write one Optuna study for each arm, and each of its tunings, into a new SQLite file.

    Args:
        state: of the study.
        space: of the study.
        file: does not exist.

    Returns:
        The names of the Optuna studies.
    """
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    directions = directions_of(space.search)
    studies: dict[str, optuna.Study] = {}
    for trial in state.of_phase("search"):
        name = f"{space.name}: {group_of(trial.arm, trial.tuning)}"
        if name not in studies:
            studies[name] = optuna.create_study(
                storage=storage, study_name=name, directions=directions
            )
        studies[name].add_trial(_frozen(trial, space))
    return list(studies)


def _frozen(trial: Trial, space: Space) -> FrozenTrial:
    metric = space.search.metric
    status = _STATES[trial.status]
    goals = [goal.metric for goal in space.search.goals] or [metric]
    values = [value for name in goals if (value := trial.goal(name)) is not None]
    if status is TrialState.COMPLETE and len(values) < len(goals):  # of a journal that was cut
        status = TrialState.FAIL
    return optuna.trial.create_trial(
        state=status,
        values=values if status is TrialState.COMPLETE else None,
        params=dict(trial.tuned),
        distributions={name: distribution(space.tuned[name]) for name in trial.tuned},
        intermediate_values={
            report.epoch: report.metrics[metric]
            for report in trial.reports
            if metric in report.metrics
        },
        user_attrs={"karat.trial": trial.number, "seed": trial.seed, **_plain(trial)},
    )


def _plain(trial: Trial) -> dict[str, str]:
    """Factors as text: Optuna's attributes are JSON, which has no tuples."""
    return {name: str(level) for name, level in trial.factors.items()}
