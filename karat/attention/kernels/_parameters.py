"""The parameters of units as kernels take them. Shapes as in `karat.attention.kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from karat.attention.formulas import Program, program_of
from karat.attention.formulas.expressions import Value
from karat.attention.formulas.in_torch import evaluate
from karat.attention.kernels._features import Parameters

if TYPE_CHECKING:
    from karat.attention.kernels import Units


def parameters_of(units: Units, dtype: torch.dtype) -> list[Any]:
    """Scales of the units and of the base activation (None without), then the coefficients.

    Args:
        dtype: dtype of queries and keys; the parameters are that or float32, if it is wider.
    """
    wide = torch.promote_types(dtype, torch.float32)
    base_scale = None if units.base_activation == "zero" else units.base_scale
    ready = units.basis.prepared(units.coefficients)
    coefficients = [ready[name] for name in units.basis.coefficient_shapes()]
    return [
        None if each is None else each.to(wide) for each in (units.scale, base_scale, *coefficients)
    ]


class OwnUnits:
    """The parameters of units that share no features, and what is computed once for each unit.

    Args:
        parameters: coefficients (P, R, M, own) or (P, R, M), scales (P, R, M).
        spec: `Units.spec`.
    """

    def __init__(self, parameters: Parameters, spec: str) -> None:
        coefficients, unit_scale, base_scale = parameters
        program = program_of(spec, unit_scale is not None)
        assert program is not None
        assert program.unit is not None
        self.program: Program = program
        self.unit, self.shapes = program.unit, [each.shape for each in coefficients]
        self.unit_scale, self.base_scale = unit_scale, base_scale
        flat = [one for each in coefficients for one in each.reshape(*each.shape[:3], -1).unbind(3)]
        if unit_scale is not None:
            flat.append(unit_scale)
        self.flat_PRM = dict(zip(self.unit.coefficients, flat, strict=True))

    def prepared_PRM(self) -> dict[Value, Tensor]:
        """What is computed once for each unit."""
        prepared = evaluate(self.unit.prepared, self.flat_PRM)
        return {
            value: each
            for value, each in zip(self.unit.prepared, prepared, strict=True)
            if isinstance(each, Tensor)
        }

    def gradients(self, sums_PRM: Sequence[Tensor], grad_base_PRM: Tensor | None) -> list[Tensor]:
        """Of the scales of units and base, where given, and of each coefficient.

        Args:
            sums_PRM: the sum over all scores of the gradient of each of `Unit.parts`.
            grad_base_PRM: the gradient of the base scale, if there is one.
        """
        inputs = {**self.flat_PRM, **dict(zip(self.unit.sums, sums_PRM, strict=True))}
        some = next(iter(self.flat_PRM.values()))
        found = [
            each if isinstance(each, Tensor) else torch.full_like(some, each)
            for each in evaluate(self.unit.by_coefficients, inputs)
        ]
        grads = [] if self.unit_scale is None else [found.pop()]
        if grad_base_PRM is not None:
            grads.append(grad_base_PRM)
        for shape in self.shapes:
            count = shape[3:].numel()
            grads.append(torch.stack(found[:count], 3).reshape(shape))
            found = found[count:]
        return grads
