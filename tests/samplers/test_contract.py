"""The contract of every sampler in the catalogue."""

from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from karat.errors import SettingError
from karat.parameters import Tuned
from karat.samplers import SAMPLERS, SearchConfig, Turn

RANGES: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "warmup": IntDistribution(0, 3),
}
LISTS = {"decay": CategoricalDistribution((0.0, 0.05, 0.1))}
TRIALS = 30
every_sampler = pytest.mark.parametrize("name", sorted(SAMPLERS))
# `grid` does not use Optuna: the plan goes through its cells.
PROPOSING = sorted(set(SAMPLERS) - {"grid"})
every_proposing = pytest.mark.parametrize("name", PROPOSING)
every_learning = pytest.mark.parametrize("name", [n for n in PROPOSING if SAMPLERS[n].learns])


def space_for(name: str) -> dict[str, BaseDistribution]:
    """What the sampler supports: `cmaes` refuses lists."""
    return RANGES if name == "cmaes" else {**RANGES, **LISTS}


def values_of(name: str, seed: int, told: int) -> dict[str, Any]:
    """A proposal after the first `told` trials, of which every fourth was stopped."""
    space = space_for(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(told):
        params = {"rate": 10 ** (-1 - 3 * number / TRIALS), "warmup": number % 4}
        params["decay"] = (0.0, 0.05, 0.1)[number % 3]
        value = abs(params["rate"] - 0.01)
        stopped = {"state": TrialState.PRUNED} if number % 4 == 3 else {"value": value}
        study.add_trial(
            create_trial(
                params={key: params[key] for key in space},
                distributions=space,
                intermediate_values={1: value},
                **stopped,
            )
        )
    study.sampler = SAMPLERS[name].make(
        Turn(seed=seed, series=seed, index=told, trials=TRIALS, parameters=space)
    )
    return study.ask(space).params


@every_proposing
@pytest.mark.parametrize("told", [0, 5, 25])
def test_proposal_depends_on_its_seed_and_the_trials_told(name: str, told: int) -> None:
    first = values_of(name, 3, told)
    assert values_of(name, 3, told) == first
    # With a model, `gp` takes what is best by it, which another seed may find too.
    assert values_of(name, 4, told) != first or (name, told) == ("gp", 25)


@every_proposing
@pytest.mark.parametrize("told", [0, 25])
def test_proposals_stay_within_the_ranges(name: str, told: int) -> None:
    for seed in range(3 if name == "gp" else 20):
        found = values_of(name, seed, told)
        assert found.keys() == space_for(name).keys()
        assert 1e-4 <= found["rate"] <= 1e-1
        assert found["warmup"] in range(4)
        assert found.get("decay", 0.0) in (0.0, 0.05, 0.1)


@every_learning
def test_what_learns_proposes_other_values_after_other_results(name: str) -> None:
    assert [values_of(name, seed, 0) for seed in range(3)] != [
        values_of(name, seed, 25) for seed in range(3)
    ]


@pytest.mark.parametrize("name", ["cmaes", "qmc"])
def test_what_knows_one_arm_alone_does_not_choose_the_arms(name: str) -> None:
    with pytest.raises(SettingError, match=rf"equal or by_level for sampler {name}"):
        SAMPLERS[name].check(SearchConfig(sampler=name, trials=9, allocation="free"), ())


@every_sampler
def test_missing_setting_of_the_search_is_named(name: str) -> None:
    range_ = Tuned(name="training.decay", values=None, low=0.0, high=1.0, log=False, when={})
    with pytest.raises(SettingError, match=r"^(search\.trials|training\.decay)"):
        SAMPLERS[name].check(SearchConfig(sampler=name), (range_,))
