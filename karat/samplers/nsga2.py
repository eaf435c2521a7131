"""A genetic algorithm: crosses and mutates the best trials; for several goals too."""

import optuna
from optuna.trial import FrozenTrial, TrialState

from karat.samplers import Sampler, Turn


class NSGA2(Sampler):
    """NSGA-II (Deb et al. 2002) with the operators of Optuna's NSGAIISampler.

    The parents of a proposal are the best of all completed trials, by non-dominated rank and crowding
    distance. Optuna's keep generations in the attributes of trials, which a journal does not have; here
    a trial can be a parent as soon as it is completed. A generation has a quarter of the trials, from 4 to 50; as many
    come first at random.
    """

    @classmethod
    def make(cls, turn: Turn) -> optuna.samplers.BaseSampler:
        return _SteadyState(population_size=min(50, max(4, turn.trials // 4)), seed=turn.seed)


class _SteadyState(optuna.samplers.NSGAIISampler):
    """Generation 0 until there are parents, then 1, whose population are all completed trials."""

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        assert self.population_size is not None
        return int(len(self.get_population(study, 0)) >= self.population_size)

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return self.select_parent(study, generation) if generation else []
