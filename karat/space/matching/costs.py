"""What an arm costs, exactly, from its settings alone."""

import json
from collections.abc import Mapping
from typing import Any

from karat.attention.config import AttentionConfig
from karat.models.config import ModelConfig
from karat.models.costs import costs_of
from karat.settings import build
from karat.space.matching.config import Cost
from karat.training.config import TrialConfig

Sections = Mapping[str, Mapping[str, Any]]


class ExactCosts:
    """Parameters or multiply-adds of the model of a trial; what data holds is looked up once.

    Args:
        by: the cost.
    """

    def __init__(self, by: Cost) -> None:
        self._by = by
        self._shapes: dict[str, dict[str, int]] = {}

    def of(self, sections: Sections) -> float:
        """The cost of a trial with these sections.

        Raises:
            InputError: the settings are not allowed, or do not go together.
        """
        model = build(ModelConfig, sections["model"], "model")
        attention = AttentionConfig.from_settings(sections["attention"])
        costs = costs_of(model, attention, **self._shape(sections))
        return costs.parameters if self._by == "parameters" else costs.forward_flops

    def _shape(self, sections: Sections) -> dict[str, int]:
        key = json.dumps(sections["data"], sort_keys=True, default=repr)
        if key not in self._shapes:
            self._shapes[key] = TrialConfig.from_sections(sections).data_shape()
        return self._shapes[key]
