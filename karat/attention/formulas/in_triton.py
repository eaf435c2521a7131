"""Triton functions of a program, as Python source for `triton.jit`.

A tile is a block of scores `x`, with queries along one dimension and keys along the other. Of many
tiles only a group is computed at a time, so that they fit into registers: `number` is that of the
group, known when the kernel runs. The functions are

* `features(x, number)`: a group of the shared features, each a tile;
* `slopes(x, number)`: a group of the derivatives of features, without the first few that are 0;
* `unit(x, kept)`: one unit of every score, from what is prepared for each key;
* `unit_slope(x, kept, above)`: the gradient of the scores, given that of the units;
* `unit_parts(x, kept, above, number)`: the gradient of a group of `Unit.parts`, for each score.

`kept` are the numbers of `Unit.prepared` for each key, `above` the gradient for each query, all of
a shape that broadcasts to that of x. The last group is filled with tiles of 0. Names that the source
does not define are those of `karat.attention.kernels.triton._elementary`, `tl` and `jit`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from karat.attention.formulas.expressions import (
    COMPARISONS,
    Value,
    depends_on,
    in_order,
    needed,
)
from karat.attention.formulas.programs import Shared, Unit

FORMS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "neg": "-{}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "both": "{} & {}",
    "negation": "~{}",
    "abs": "tl.abs({})",
    "sign": "sign({})",
    "exp": "tl.exp({})",
    "sin": "sine({})",
    "cos": "cosine({})",
    "tanh": "hyperbolic_tangent({})",
    "sigmoid": "sigmoid({})",
    "erf": "tl.erf({})",
    "floor": "tl.floor({})",
    "maximum": "maximum({}, {})",
    "where": "tl.where({}, {}, {})",
}


def features_source(shared: Shared, group: int) -> str:
    """The source of `features`, for groups of that many.

    Raises:
        ValueError: the formula has an operation that this module does not know; so for all sources.
    """
    tiles = [
        _Tiles(_Code({shared.x: "x"}), some, [shared.x]) for some in _groups(shared.terms, group)
    ]
    return _grouped("features", "x", tiles, group)


def slopes_source(shared: Shared, group: int) -> str:
    """The source of `slopes`, of which there is at least one."""
    tiles = []
    for some in _groups(shared.slopes[without_slope(shared) :], group):
        code, used = _Code({shared.x: "x"}), {each.index for each in in_order(some)}
        pairs = zip(shared.known, shared.terms, strict=False)
        code.same({known: term for known, term in pairs if known.index in used})
        tiles.append(_Tiles(code, some, [shared.x, *shared.known]))
    return _grouped("slopes", "x", tiles, group)


def without_slope(shared: Shared) -> int:
    """How many of the first features have the derivative 0, which `slopes` leaves out."""
    for number, slope in enumerate(shared.slopes):
        if slope.constant != 0.0:
            return number
    return len(shared.slopes)


def unit_source(unit: Unit) -> str:
    """The source of `unit`."""
    code = _Code({unit.x: "x", **_kept(unit)})
    return _function("unit(x, kept)", code, code.tiles([unit.value], [unit.x])[0])


def unit_slope_source(unit: Unit) -> str:
    """The source of `unit_slope`."""
    code = _Code({unit.x: "x", unit.above: "above", **_kept(unit)})
    return _function("unit_slope(x, kept, above)", code, code.tiles([unit.by_score], [unit.x])[0])


def unit_parts_source(unit: Unit, group: int) -> str:
    """The source of `unit_parts`, for groups of that many."""
    names = {unit.x: "x", unit.above: "above", **_kept(unit)}
    tiles = [_Tiles(_Code(names), some, [unit.x]) for some in _groups(unit.by_parts, group)]
    return _grouped("unit_parts", "x, kept, above", tiles, group)


def _kept(unit: Unit) -> dict[Value, str]:
    return {
        each: f"(kept[{i}] != 0.0)" if each.op in COMPARISONS else f"kept[{i}]"
        for i, each in enumerate(unit.prepared)
    }


def _groups(values: Sequence[Value], group: int) -> list[Sequence[Value]]:
    return [values[first : first + group] for first in range(0, len(values), group)]


class _Tiles(NamedTuple):
    """One group: the statements before it, its values, and what changes them within a tile."""

    code: "_Code"
    values: Sequence[Value]
    of: Sequence[Value]


def _grouped(name: str, arguments: str, groups: Sequence[_Tiles], group: int) -> str:
    parts = []
    for number, (code, values, of) in enumerate(groups):
        tiles = [*code.tiles(values, of), *["tl.zeros_like(x)"] * (group - len(values))]
        parts.append(_function(f"{name}_{number}({arguments})", code, f"({', '.join(tiles)},)"))
    lines = [f"found = {name}_0({arguments})"]
    if len(groups) > 1:
        lines = _chain(name, arguments, len(groups))
    head = ["@jit", f"def {name}({arguments}, number):"]
    choice = [*head, *(f"    {line}" for line in [*lines, "return found"])]
    return "\n\n".join([*parts, "\n".join(choice) + "\n"])


def _chain(name: str, arguments: str, count: int) -> list[str]:
    """Statements that call the function of the group; there are at least two."""
    lines = []
    for number in range(count):
        word = "else" if number == count - 1 else f"{'elif' if number else 'if'} number == {number}"
        lines += [f"{word}:", f"    found = {name}_{number}({arguments})"]
    return lines


def _function(head: str, code: "_Code", result: str) -> str:
    return "\n".join(
        ["@jit", f"def {head}:", *(f"    {line}" for line in code.lines), f"    return {result}\n"]
    )


class _Code:
    """Statements that compute expressions, each once.

    Args:
        names: what the arguments of the function are.
    """

    def __init__(self, names: Mapping[Value, str]) -> None:
        self.lines: list[str] = []
        self._names = {value.index: name for value, name in names.items()}
        self._angles: dict[int, str] = {}

    def same(self, known: Mapping[Value, Value]) -> None:
        """Each of these inputs is that value."""
        self._evaluate(known.values())
        self._names.update({each.index: self._name(value) for each, value in known.items()})

    def tiles(self, values: Sequence[Value], of: Sequence[Value]) -> list[str]:
        """The values, each of the shape of x also where it does not depend on it."""
        self._evaluate(values)
        moving = depends_on(values, of)
        return [
            self._name(each) if each.index in moving else f"{self._name(each)} + tl.zeros_like(x)"
            for each in values
        ]

    def _evaluate(self, values: Iterable[Value]) -> None:
        todo = needed(values, self._names)
        both = _angles_of(todo, "sin") & _angles_of(todo, "cos")
        for value in todo:
            if value.constant is not None:
                continue
            if value.op == "given":
                self._names[value.index] = self._name(value.args[0])
            elif value.op in ("sin", "cos") and value.args[0].index in both:
                self._names[value.index] = self._of_both(value)
            else:
                self._names[value.index] = f"v{value.index}"
                self.lines.append(f"v{value.index} = {self._expression(value)}")

    def _name(self, value: Value) -> str:
        if value.constant is not None:
            return f"({value.constant!r})" if value.constant < 0 else repr(value.constant)
        return self._names[value.index]

    def _expression(self, value: Value) -> str:
        if value.op not in FORMS:
            raise ValueError(f"the operation {value.op} has no form in Triton")
        return FORMS[value.op].format(*map(self._name, value.args))

    def _of_both(self, value: Value) -> str:
        (arg,) = value.args
        own = arg.index
        if own not in self._angles:
            self._angles[own] = str(own)
            self.lines.append(f"c{own}, s{own} = cosine_and_sine({self._name(arg)})")
        return f"{value.op[0]}{own}"


def _angles_of(values: Iterable[Value], op: str) -> set[int]:
    return {value.args[0].index for value in values if value.op == op}
