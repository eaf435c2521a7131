"""What a trial's model costs."""

from karat.models.costs import Costs, costs_of
from karat.training.config import TrialConfig


def costs_of_trial(config: TrialConfig) -> Costs:
    """Of the model that a trial trains, on its data.

    Raises:
        InputError: settings that do not go together.
    """
    return costs_of(config.model, config.attention, **config.data_shape())
