"""The costs of the model of a trial."""

from karat.datasets import DataInfo
from karat.models.costs import Costs, costs_of
from karat.training.config import TrialConfig


def costs_of_trial(config: TrialConfig, info: DataInfo | None = None) -> Costs:
    """The costs of the model that a trial trains.

    Args:
        config: of the trial.
        info: of its data, where that need not be here; None looks at it.

    Raises:
        InputError: the settings are not compatible.
    """
    return costs_of(config.model, config.attention, **config.data_shape(info))
