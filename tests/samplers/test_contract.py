"""The contract of every sampler in the catalogue."""

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from karat.errors import SettingError
from karat.parameters import Tuned
from karat.samplers import SAMPLERS, SearchConfig

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "decay": CategoricalDistribution((0.0, 0.05, 0.1)),
}
TRIALS = 30
every_sampler = pytest.mark.parametrize("name", sorted(SAMPLERS))
# `grid` does not use Optuna: the plan goes through its cells.
every_proposing = pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"grid"}))


def values_of(name: str, seed: int, told: int) -> dict[str, Any]:
    """A proposal after the first `told` trials."""
    study = optuna.create_study(sampler=SAMPLERS[name].make(seed, TRIALS))
    for number in range(told):
        params = {"rate": 10 ** (-1 - 3 * number / TRIALS), "decay": (0.0, 0.05, 0.1)[number % 3]}
        trial = create_trial(params=params, distributions=SPACE, value=abs(params["rate"] - 0.01))
        study.add_trial(trial)
    return study.ask(SPACE).params


@every_proposing
@pytest.mark.parametrize("told", [0, 5, 25])
def test_proposal_depends_on_its_seed_and_the_trials_told(name: str, told: int) -> None:
    first = values_of(name, 3, told)
    assert values_of(name, 3, told) == first
    assert values_of(name, 4, told) != first


@every_proposing
@pytest.mark.parametrize("told", [0, 25])
def test_proposals_stay_within_the_ranges(name: str, told: int) -> None:
    for seed in range(20):
        found = values_of(name, seed, told)
        assert 1e-4 <= found["rate"] <= 1e-1
        assert found["decay"] in (0.0, 0.05, 0.1)


@every_sampler
def test_missing_setting_of_the_search_is_named(name: str) -> None:
    range_ = Tuned(name="training.decay", values=None, low=0.0, high=1.0, log=False, when={})
    with pytest.raises(SettingError, match=r"^(search\.trials|training\.decay)"):
        SAMPLERS[name].check(SearchConfig(sampler=name), (range_,))
