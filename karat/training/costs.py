"""The costs of the model of a trial."""

from karat.models.costs import Costs, costs_of
from karat.training.config import TrialConfig


def costs_of_trial(config: TrialConfig) -> Costs:
    """The costs of the model that a trial trains.

    Raises:
        InputError: the settings are not compatible.
    """
    return costs_of(config.model, config.attention, **config.data_shape())
