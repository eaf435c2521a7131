"""CMA-ES as a function of the trials so far."""

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from karat.errors import SettingError
from karat.parameters import Tuned
from karat.samplers import SearchConfig, Turn
from karat.samplers.cmaes import CMAES, ranked

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "y": FloatDistribution(1e-4, 1.0, log=True),
}


def distance(params: dict[str, float]) -> float:
    """From the place 0.8 of the first range, and 0.2 of the second."""
    return float((params["x"] - 0.8) ** 2 + (params["y"] - 10 ** (-4 + 4 * 0.2)) ** 2)


def test_it_moves_to_where_the_values_are_good() -> None:
    study = optuna.create_study()
    values = []
    for index in range(60):
        study.sampler = CMAES.make(
            Turn(seed=index, series=0, index=index, trials=60, parameters=SPACE)
        )
        trial = study.ask(SPACE)
        values.append(distance(trial.params))
        study.tell(trial, values[-1])
    assert sum(values[-12:]) < sum(values[:12]) / 10


def test_completed_trials_rank_before_stopped_ones_and_forbidden_ones_last() -> None:
    study = optuna.create_study(direction="maximize")

    def add(
        state: TrialState, value: float, step: int = 3, attrs: dict[str, float] | None = None
    ) -> None:
        done = {"value": value} if state == TrialState.COMPLETE else {}
        params = {"x": 0.5, "y": 0.5}
        study.add_trial(
            create_trial(
                state=state,
                params=params,
                distributions=SPACE,
                intermediate_values={step: value},
                system_attrs=attrs,
                **done,
            )
        )

    add(TrialState.PRUNED, 0.9, step=1)
    add(TrialState.COMPLETE, 0.2)
    add(TrialState.FAIL, 0.99)
    add(TrialState.PRUNED, 0.3, step=2)
    add(TrialState.COMPLETE, 0.4)
    forbidden = study.ask(SPACE)
    forbidden.report(0.95, 3)
    forbidden.set_constraint("memory", 1.0)
    study.tell(forbidden, state=TrialState.PRUNED)
    assert {trial.number: rank for trial, rank in ranked(study)} == {4: 0, 1: 1, 3: 2, 0: 3, 5: 4}


def test_a_list_of_values_is_refused() -> None:
    decay = Tuned(name="training.decay", values=(0.0, 0.1), low=None, high=None, log=False, when={})
    with pytest.raises(SettingError, match=r"^training\.decay: must be a range for sampler cmaes"):
        CMAES.check(SearchConfig(sampler="cmaes", trials=9), (decay,))
