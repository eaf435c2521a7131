"""The learned functions (units) of a model's attention: where they are, their values, and lines in their place.

Shapes: P operators, R outputs, M inputs (keys; 1 where one function serves all pairs), K points, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import LinearBasis, UnitBasis
from karat.attention.heads import HeadParts
from karat.attention.mechanisms._rows import keys_of, without
from karat.attention.mechanisms.pointwise import Pointwise
from karat.attention.operator import Operator
from karat.attention.part import MechanismPart, Part
from karat.errors import AnalysisError
from karat.models.hosts import attention_layers
from karat.models.wrappers.base import HostAttention

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class UnitTable:
    """P x R x M learned functions of scores, in one part of attention.

    Args:
        part: an operator whose units see scores (`operator_order: w_phi`), or heads with `pointwise`.
        uses: number of the attention module and its heads; several where blocks share the operator.
    """

    part: Operator | MechanismPart
    uses: list[tuple[int, list[int]]] = field(default_factory=list)

    @property
    def operators(self) -> int:
        """P; the heads of a use are so many groups of equal size, one after the other."""
        if isinstance(self.part, Operator):
            return self.part.num_operators
        return self.part.place.num_heads

    @property
    def is_by_key(self) -> bool:
        """Whether there is a function for each key; else one serves all pairs."""
        return isinstance(self.part, Operator)

    def inputs(self, scores_BHNM: Tensor) -> Tensor:
        """The scores of the heads of one use as the units see them: (P, M, L), or (P, 1, L)."""
        batch, heads, queries, keys = scores_BHNM.shape
        scores = scores_BHNM.reshape(batch, self.operators, heads // self.operators, queries, keys)
        if self.is_by_key:
            return scores.permute(1, 4, 0, 2, 3).flatten(2)
        return scores.transpose(0, 1).flatten(1).unsqueeze(1)

    def values(self, points_PMK: Tensor) -> Tensor:
        """The units at these scores, with their scales and base activation: (P, R, M, K), in float64."""
        points = points_PMK.double()
        if isinstance(self.part, Operator):
            units = self.part.phi
            coefficients = {name: value.double() for name, value in units.coefficients.items()}
            if units.scale is not None:
                coefficients = units.basis.scaled(coefficients, units.scale.double())
            found = _values(units.basis, coefficients, points)
            base = BASE_ACTIVATIONS[units.base_activation]
            if base is None:
                return found
            factor = 1.0 if units.base_scale is None else units.base_scale.double()[..., None]
            base_PMK: Tensor = base(points)
            return found + factor * base_PMK.unsqueeze(1)
        mechanism = self.part.mechanism
        assert isinstance(mechanism, Pointwise)
        learned = {name: value.double() for name, value in self.part.learned.items()}
        own = {name: learned[f"phi_{name}"] for name in mechanism.basis.coefficient_shapes()}
        return _values(mechanism.basis, mechanism.basis.scaled(own, learned["scale"]), points)


def unit_tables(model: nn.Module) -> list[UnitTable]:
    """The learned functions of scores of a model, in the order of blocks.

    Raises:
        AnalysisError: there are none, with the reason.
    """
    found: dict[int, UnitTable] = {}
    orders = set()
    for layer in attention_layers(model):
        module = layer.block.attn
        for heads, part in _parts(module) if isinstance(module, HostAttention) else ():
            if isinstance(part, Operator) and part.config.operator_order != "w_phi":
                orders.add(part.config.operator_order)
            elif _has_units(part):
                assert isinstance(part, Operator | MechanismPart)
                table = found.setdefault(id(part), UnitTable(part=part))
                table.uses.append((layer.number, heads))
    if found:
        return list(found.values())
    if orders:
        raise AnalysisError(
            f"has units, but with operator_order {min(orders)} they see no scores of single pairs"
        )
    raise AnalysisError("has no learned functions of scores")


@contextmanager
def with_lines(
    tables: Sequence[UnitTable], slopes: Sequence[Tensor], offsets: Sequence[Tensor]
) -> Iterator[None]:
    """Within this context `slope x + offset` stands in place of each unit.

    Args:
        tables: the units.
        slopes, offsets: of each table (P, R, M).
    """
    with ExitStack() as stack:
        for table, slope, offset in zip(tables, slopes, offsets, strict=True):
            if isinstance(table.part, Operator):
                stack.enter_context(_replaced(table.part, "phi", _Lines(slope, offset)))
            else:
                line = _PointwiseLine(config=table.part.mechanism.config)
                object.__setattr__(line, "line", (slope, offset))
                stack.enter_context(_replaced(table.part, "mechanism", line))
        yield


def _parts(module: HostAttention) -> list[tuple[list[int], Part]]:
    part = module.operator
    if isinstance(part, HeadParts):
        pairs = zip(part.heads, part.operators, strict=True)
        return [(heads, each) for heads, each in pairs if isinstance(each, Part)]
    return [(list(range(module.num_heads)), part)]


def _has_units(part: Part) -> bool:
    if isinstance(part, MechanismPart):
        return isinstance(part.mechanism, Pointwise)
    return isinstance(part, Operator)


def _values(basis: Any, coefficients: Mapping[str, Tensor], points_PMK: Tensor) -> Tensor:
    if isinstance(basis, LinearBasis):
        own = [coefficients[name] for name in basis.coefficient_shapes()]
        return torch.einsum("prmf,pfmk->prmk", torch.cat(own, -1), basis.features(points_PMK))
    assert isinstance(basis, UnitBasis)
    return basis.units(points_PMK.unsqueeze(1), basis.prepared(coefficients))


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


class _Lines(nn.Module):
    """Stands in place of `Units`: the sum over keys of a line of each score."""

    def __init__(self, slope_PRM: Tensor, offset_PRM: Tensor) -> None:
        super().__init__()
        self.slope_PRM, self.offset_PRM = slope_PRM, offset_PRM

    def forward(self, scores_PML: Tensor, keep_PML: Tensor | None = None) -> Tensor:
        slope, offset = (each.to(scores_PML.dtype) for each in (self.slope_PRM, self.offset_PRM))
        if keep_PML is None:
            return slope @ scores_PML + offset.sum(-1, keepdim=True)
        return slope @ (scores_PML * keep_PML) + offset @ keep_PML.expand(scores_PML.shape)


class _PointwiseLine(Pointwise):
    """`(slope x + offset) / sqrt(N)`."""

    line: tuple[Tensor, Tensor]

    def weights(
        self, scores_BHNM: Tensor, keep: Tensor | None, learned: Mapping[str, Tensor]
    ) -> Tensor:
        slope, offset = (each.to(scores_BHNM.dtype).reshape(-1, 1, 1) for each in self.line)
        values_BHNM = slope * scores_BHNM + offset
        return without(values_BHNM / keys_of(scores_BHNM, keep).sqrt(), keep)
