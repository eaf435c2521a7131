"""Independent draws from the ranges."""

import optuna

from karat.samplers import Sampler, Turn


class Random(Sampler):
    """Optuna's RandomSampler."""

    learns = False

    @classmethod
    def make(cls, turn: Turn) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=turn.seed)
