"""Tree-structured Parzen estimator, multivariate and grouped for conditional parameters."""

import warnings

import optuna

from karat.samplers import Sampler, Turn, startup_trials


class TPE(Sampler):
    """Optuna's TPE (Bergstra et al. 2011), with `multivariate` and `group`.

    Without both, Optuna 5.0 samples conditional parameters independently of the others. Departures
    from its defaults: with few trials, a third of them (not ten) are random startup trials; running
    trials count as bad (`constant_liar`), so that parallel trials do not get the same values.
    """

    @classmethod
    def make(cls, turn: Turn) -> optuna.samplers.BaseSampler:
        with warnings.catch_warnings():  # `group` is experimental in Optuna 5.0
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=startup_trials(turn.trials),
                seed=turn.seed,
            )
