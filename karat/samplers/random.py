"""Independent draws from the ranges."""

import optuna

from karat.samplers import Sampler


class Random(Sampler):
    """Optuna's RandomSampler."""

    @classmethod
    def make(cls, seed: int, trials: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)
