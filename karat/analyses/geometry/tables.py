"""Where the learned tables of attention are in a model: coefficients, W and others, by block and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from karat.attention.bases import Basis
from karat.attention.bases.fourier import Fourier
from karat.attention.heads import HeadParts
from karat.attention.mechanisms.pointwise import Pointwise
from karat.attention.operator import Operator
from karat.attention.part import MechanismPart, Part
from karat.errors import AnalysisError, HostError
from karat.models.hosts import attention_layers
from karat.models.wrappers.base import HostAttention

ALL = "all"
# The paper's names of what has another one in the code.
_NAMES = {"cos": "a", "sin": "b", "weight": "W", "scale": "unit scale", "base_scale": "base scale"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Blocks and heads, numbered from 1, that have something in common: `3`, `1-12`, `1, 3`."""

    block: str
    head: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A learned table, or those of its numbers that belong to some heads.

    Args:
        name: in the paper (a, b, W), or in the code.
        place: whose it is.
        key: of the state dict.
        operator: its number along the first dimension; None for all of it.
    """

    name: str
    place: Place
    key: str
    operator: int | None = None

    def of(self, state: Mapping[str, Tensor]) -> Tensor:
        """Its numbers in a state dict."""
        whole = state[self.key].detach()
        return whole if self.operator is None else whole[self.operator]


@dataclass(frozen=True, kw_only=True)
class Functions:
    """The learned functions of one operator.

    Args:
        place: whose they are.
        basis: of the functions.
        coefficients: name in the basis to the table with them: (R, M, ...).
        scale: factors of the functions, (R, M); None for 1.
        suffix: that tells a second table of functions from the first.
    """

    place: Place
    basis: Basis
    coefficients: Mapping[str, Table]
    scale: Table | None
    suffix: str = ""

    @property
    def basis_name(self) -> str:
        """The name of the basis, which is that of its file."""
        return type(self.basis).__module__.rpartition(".")[2]

    def energies(self, state: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
        """Squared coefficients, summed over all functions: a name of the term, and its share, 0 to 1.

        Coefficients count times the factor of their function. For the Fourier basis terms are frequencies, with
        `a_k² + b_k²`; for others the coefficients of one name (`c 1`, `c 2`, ...), in the order of the basis.
        """
        raw = {name: table.of(state).double()[None] for name, table in self.coefficients.items()}
        if self.scale is not None:
            raw = self.basis.scaled(raw, self.scale.of(state).double()[None])
        squares = {
            name: value.square().flatten(0, 2).flatten(1).sum(0)
            for name, value in raw.items()
            if value.dim() > 3
        }
        if isinstance(self.basis, Fourier):
            squares = {"k =": squares["cos"] + squares["sin"]}
        for name, values in squares.items():
            total = float(values.sum())
            if len(values) < 2:
                continue
            for number, value in enumerate(values, start=1):
                share = float(value) / total if total > 0 else float("nan")
                yield f"{name} {number}{self.suffix}", share


@dataclass(frozen=True, kw_only=True)
class Learned:
    """All learned tables of a model's attention, and the learned functions that they make."""

    tables: list[Table] = field(default_factory=list)
    functions: list[Functions] = field(default_factory=list)


def learned_tables(model: nn.Module) -> Learned:
    """The learned tables of a model's attention, in the order of blocks and heads.

    A table that several blocks or heads share is there once. Parameters with one number for each head or less
    (temperatures, biases) are no tables, and scales without effect are left out.

    Raises:
        AnalysisError: the model is not a supported host.
    """
    try:
        layers = attention_layers(model)
    except HostError as error:
        raise AnalysisError(str(error)) from error
    found = Learned()
    blocks: dict[int, list[int]] = {}
    parts: dict[int, tuple[str, Part, int]] = {}
    for number, layer in enumerate(layers):
        module = layer.block.attn
        if isinstance(module, HostAttention):
            part = module.operator
            blocks.setdefault(id(part), []).append(number)
            parts.setdefault(id(part), (f"{layer.name}.operator", part, layer.num_heads))
    for key, (prefix, part, heads) in parts.items():
        _add(found, prefix, part, _span(blocks[key]), list(range(heads)))
    return found


def _add(found: Learned, prefix: str, part: Part, block: str, heads: list[int]) -> None:
    if isinstance(part, HeadParts):
        for number, (own, one) in enumerate(zip(part.heads, part.operators, strict=True)):
            assert isinstance(one, Part)
            _add(found, f"{prefix}.operators.{number}", one, block, [heads[each] for each in own])
    elif isinstance(part, Operator):
        _add_operator(found, prefix, part, block, heads)
    elif isinstance(part, MechanismPart):
        _add_mechanism(found, prefix, part, block, heads)


def _add_operator(
    found: Learned, prefix: str, part: Operator, block: str, heads: list[int]
) -> None:
    sharing = len(heads) // part.num_operators
    for operator in range(part.num_operators):
        own = heads[operator * sharing : (operator + 1) * sharing]
        place = Place(block=block, head=_span(own))
        for units, suffix in ((part.phi, ""), (part.phi_2, " (second)")):
            if units is None:
                continue
            path = f"{prefix}.phi{'_2' if suffix else ''}"
            coefficients = {
                name: _table(f"{path}.coefficients.{name}", name, place, operator, suffix)
                for name in units.coefficients
            }
            scale = None
            found.tables.extend(coefficients.values())
            if units.scale is not None:
                scale = _table(f"{path}.scale", "scale", place, operator, suffix)
                found.tables.append(scale)
            if units.base_scale is not None and units.base_scale.requires_grad:
                found.tables.append(
                    _table(f"{path}.base_scale", "base_scale", place, operator, suffix)
                )
            found.functions.append(
                Functions(
                    place=place,
                    basis=units.basis,
                    coefficients=coefficients,
                    scale=scale,
                    suffix=suffix,
                )
            )
        if part.weight is not None:
            found.tables.append(_table(f"{prefix}.weight", "weight", place, operator))


def _add_mechanism(
    found: Learned, prefix: str, part: MechanismPart, block: str, heads: list[int]
) -> None:
    every = Place(block=block, head=_span(heads))
    for name, parameter in part.learned.items():
        key = f"{prefix}.learned.{name}"
        if parameter.dim() < 3:
            if parameter.dim() == 2:
                found.tables.append(_table(key, name, every, None))
            continue
        if parameter[0].numel() < 2:  # one number for each head
            continue
        sharing = len(heads) // parameter.shape[0]
        for operator in range(parameter.shape[0]):
            own = heads[operator * sharing : (operator + 1) * sharing]
            place = Place(block=block, head=_span(own))
            found.tables.append(_table(key, name.removeprefix("phi_"), place, operator))
    if isinstance(part.mechanism, Pointwise):
        for operator, head in enumerate(heads):
            found.functions.append(_pointwise(prefix, part.mechanism, block, head, operator))


def _pointwise(prefix: str, mechanism: Pointwise, block: str, head: int, number: int) -> Functions:
    place = Place(block=block, head=_span([head]))
    return Functions(
        place=place,
        basis=mechanism.basis,
        coefficients={
            name: _table(f"{prefix}.learned.phi_{name}", name, place, number)
            for name in mechanism.basis.coefficient_shapes()
        },
        scale=_table(f"{prefix}.learned.scale", "scale", place, number),
    )


def _table(key: str, name: str, place: Place, operator: int | None, suffix: str = "") -> Table:
    return Table(name=_NAMES.get(name, name) + suffix, place=place, key=key, operator=operator)


def _span(numbers: list[int]) -> str:
    """Numbers from 0 as numbers from 1: `2`, `1-12`, `1, 3`."""
    first, last = numbers[0] + 1, numbers[-1] + 1
    if len(numbers) == 1:
        return str(first)
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{first}-{last}"
    return ", ".join(str(each + 1) for each in numbers)
