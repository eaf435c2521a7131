"""What a space that matches time or memory needs of the launch that reads it: this layer can measure nothing."""

from collections.abc import Mapping
from typing import Any, Protocol

from karat.space.settings import ResourceConfig

Sections = Mapping[str, Mapping[str, Any]]


class Measuring(Protocol):
    """Tells the time of a training step and the memory of training (`karat.forecast.matching`)."""

    def recorded(self, study: str) -> Mapping[str, Any]:
        """The section `match` in the journal of a study, which is not measured anew; empty without a journal."""

    def cost(self, by: str, sections: Sections, resources: ResourceConfig) -> float:
        """The cost of a trial, above 0: seconds of a step, or bytes.

        Raises:
            InputError: the settings are not allowed, or it cannot be measured here.
        """

    def estimate(self, by: str, sections: Sections, resources: ResourceConfig) -> float:
        """A number that grows with the cost, and is had at once.

        Raises:
            InputError: the settings are not allowed.
        """
