"""The trained parameters of a model as one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from karat.attention.part import Part
from karat.errors import AnalysisError


class Trained:
    """The parameters of a model that are trained, in the model's order; shared ones count once.

    Parameters that are not trained (`requires_grad` is off), such as the functions of the mechanism `frozen`, stay
    as they are wherever the weights of a model are moved.

    Args:
        model: any; it is not changed, and neither are its parameters.

    Raises:
        AnalysisError: none of its parameters is trained.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.parameters: Mapping[str, Tensor] = {
            name: parameter.detach()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        if not self.parameters:
            raise AnalysisError("no parameter of the model is trained (requires_grad)")

    @property
    def vector(self) -> Tensor:
        """Their values now, a copy: (P,)."""
        return self.joined(self.parameters)

    def __len__(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Parts of a vector (P,) under the names and with the shapes of the parameters, without copies."""
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        parts = zip(self.parameters.items(), torch.split(vector, sizes), strict=True)
        return {name: part.view(parameter.shape) for (name, parameter), part in parts}

    def joined(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The vector (P,) of values under the names of the parameters, from a state dict for instance.

        Raises:
            AnalysisError: one is missing, or has another shape.
        """
        found = []
        for name, parameter in self.parameters.items():
            part = parts.get(name)
            if part is None or part.shape != parameter.shape:
                have = "none" if part is None else str(tuple(part.shape))
                raise AnalysisError(
                    f"weights of another model: {name} must have the shape {tuple(parameter.shape)}, got {have}"
                )
            found.append(part.detach().to(parameter).flatten())
        return torch.cat(found)

    def filter_dims(self) -> dict[str, int]:
        """Number of leading dimensions of each parameter that count its filters; see `filter_normalised`."""
        inside = _of_parts(self.model)
        found = {}
        for name, parameter in self.parameters.items():
            is_table = name in inside and parameter.dim() > 2
            is_embedding = parameter.dim() == 3 and parameter.shape[0] == 1
            found[name] = min(parameter.dim(), 2 if is_table or is_embedding else 1)
        return found


def _of_parts(model: nn.Module) -> set[str]:
    """Names of the parameters that belong to what attends."""
    places: list[tuple[str, Any]] = [
        (name, module) for name, module in model.named_modules() if isinstance(module, Part)
    ]
    return {f"{place}.{name}" for place, module in places for name, _ in module.named_parameters()}
