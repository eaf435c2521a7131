"""A search with several goals: proposals, early stopping and replay follow from the journal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.optuna_storage import write_optuna
from karat.samplers import SAMPLERS
from karat.space.reader import load_space
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial
from tests.driven import checked, go, without_ray
from tests.planning.test_limits import RANKS
from tests.study.test_study import decisions

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]
SEARCH = "search: {sampler: tpe, trials: 6}"
ASHA = "early_stopping: {scheduler: asha, grace_epochs: 1, reduction_factor: 3}\n"
GOALS = "goals: [{metric: val_accuracy, mode: max}, {metric: parameters, mode: min}]"
ABLE = [name for name in sorted(SAMPLERS) if SAMPLERS[name].several_goals and name != "grid"]


def with_goals(sampler: str = "tpe", goals: str = GOALS, trials: int = 36) -> tuple[str, str]:
    return SEARCH, f"search: {{sampler: {sampler}, trials: {trials}, {goals}}}"


@pytest.mark.parametrize("sampler", ABLE)
def test_a_study_killed_at_any_step_takes_the_same_decisions_with_every_sampler(
    write_space: WriteSpace, tmp_path: Path, sampler: str, without_ray: None
) -> None:
    path = write_space(with_goals(sampler), (ASHA, ""), text=RANKS)
    assert load_space(path).early_stopping == {"scheduler": "nondominated"}
    found = []
    for name, pieces in (("whole", 10**6), ("pieces", 31)):
        while go(path, tmp_path / name, steps=pieces) == 75:
            pass
        found.append(decisions(checked(tmp_path / name / "small")))
    assert found[0] == found[1]


def test_costs_are_written_down_and_trials_are_stopped_by_both_goals(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    path = write_space(with_goals(), (ASHA, ""), text=RANKS)
    assert go(path, tmp_path) == 0
    state = checked(tmp_path / "small")
    for trial in state.trials.values():
        costs = costs_of_trial(TrialConfig.from_sections(trial.config))
        assert trial.goal("parameters") == costs.parameters
    searched = state.of_phase("search")
    assert any(trial.status == "stopped" for trial in searched)
    names = write_optuna(state, load_space(path), tmp_path / "optuna.db")
    assert len(names) == 3


def test_seconds_of_an_epoch_are_a_goal_and_unmeasured_memory_fails_no_study(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    third = GOALS.replace("{metric: parameters", "{metric: epoch_s, mode: min}, {metric: memory_mb")
    space = load_space(write_space(with_goals(goals=third), (ASHA, ""), text=RANKS))
    state = simulate(space, None, 2, ModelledCurves(1, dict.fromkeys(space.arms, 2.0))).state
    assert state.status == "completed"
    first = state.of_phase("search")[0]
    assert first.goal("epoch_s") == pytest.approx(first.seconds / len(first.reports))
    assert first.goal("memory_mb") is None


def test_a_search_with_goals_is_extended(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    path = write_space(with_goals(trials=12), (ASHA, ""), text=RANKS)
    assert go(path, tmp_path) == 0
    assert go(path, tmp_path, "trials=+6") == 0
    checked(tmp_path / "small")


@pytest.mark.parametrize(
    ("exchanges", "told"),
    [
        ([with_goals("cmaes")], "has one goal; for search.goals use one of these: gp, grid, nsga2"),
        ([with_goals()], "compares one goal, and would stop what is good at another"),
        ([with_goals(goals=f"{GOALS}, warm_start: older"), (ASHA, "")], "must not be set with search.goals"),
        ([with_goals(goals=GOALS.replace(", mode: min", "")), (ASHA, "")], "a goal needs its direction"),
    ],
)  # fmt: skip
def test_what_knows_one_goal_alone_is_refused(
    write_space: WriteSpace, exchanges: list[tuple[str, str]], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load_space(write_space(*exchanges))


def test_a_journal_without_goals_is_read_as_before(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    assert go(write_space(), tmp_path) == 0
    events = list(read_events(tmp_path / "small" / JOURNAL))
    assert not any("costs" in each.data for each in events)
    assert StudyState.of(events).created["search"]["goals"] == []
