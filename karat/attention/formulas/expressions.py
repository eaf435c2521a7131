"""Expressions of one score, written with the methods and operators of a `torch.Tensor`.

A basis states its functions once, as Python on "something that behaves like a tensor". Called with
tensors, it computes; called with a `Value` of a `Trace`, it records what it would compute, from
which derivatives and the code of the kernels are made. Equal expressions of a trace are one object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Operand: TypeAlias = "Value | float"

COMPARISONS = frozenset({"less", "less_equal", "both", "negation"})
"""Operations whose value is a truth value."""


class Trace:
    """The expressions recorded from some inputs; every expression exists once."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], Value] = {}

    def input(self, name: str) -> Value:
        """The input of that name."""
        return self._one("input", (), name)

    def number(self, value: float) -> Value:
        """A constant."""
        return self._one("number", (), float(value))

    def make(self, op: str, *operands: Operand) -> Value:
        """An operation on operands, simplified where that changes no result but that of a NaN."""
        args = tuple(each if isinstance(each, Value) else self.number(each) for each in operands)
        return _simplified(self, op, args) or self._one(op, args, None)

    def _one(self, op: str, args: tuple[Value, ...], detail: str | float | None) -> Value:
        key = (op, detail, *(each.index for each in args))
        if key not in self._made:
            self._made[key] = Value(self, len(self._made), op, args, detail)
        return self._made[key]


@dataclass(frozen=True, eq=False)
class Value:
    """One expression. `index` orders the expressions of a trace: operands come first."""

    trace: Trace = field(repr=False)
    index: int
    op: str
    args: tuple[Value, ...]
    detail: str | float | None

    @property
    def constant(self) -> float | None:
        """The number that this expression is, or None."""
        return float(self.detail) if self.op == "number" and self.detail is not None else None

    def __add__(self, other: Operand) -> Value:
        return self.trace.make("add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.trace.make("add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.trace.make("sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.trace.make("sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.trace.make("mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.trace.make("mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.trace.make("div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.trace.make("div", other, self)

    def __neg__(self) -> Value:
        return self.trace.make("neg", self)

    def __lt__(self, other: Operand) -> Value:
        return self.trace.make("less", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.trace.make("less_equal", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.trace.make("less", other, self)

    def __ge__(self, other: Operand) -> Value:
        return self.trace.make("less_equal", other, self)

    def __and__(self, other: Value) -> Value:
        return self.trace.make("both", self, other)

    def __invert__(self) -> Value:
        return self.trace.make("negation", self)

    def abs(self) -> Value:
        return self.trace.make("abs", self)

    def sign(self) -> Value:
        return self.trace.make("sign", self)

    def square(self) -> Value:
        return self * self

    def exp(self) -> Value:
        return self.trace.make("exp", self)

    def cos(self) -> Value:
        return self.trace.make("cos", self)

    def sin(self) -> Value:
        return self.trace.make("sin", self)

    def tanh(self) -> Value:
        return self.trace.make("tanh", self)

    def erf(self) -> Value:
        return self.trace.make("erf", self)

    def sigmoid(self) -> Value:
        return self.trace.make("sigmoid", self)

    def floor(self) -> Value:
        return self.trace.make("floor", self)

    def clamp(self, min: float) -> Value:  # the name of torch
        return self.trace.make("maximum", self, min)

    def relu(self) -> Value:
        return self.clamp(min=0.0)

    def where(self, condition: Value, other: Operand) -> Value:
        """This where the condition holds, else the other."""
        return self.trace.make("where", condition, self, other)

    def given(self, of: Value, slope: Value) -> Value:
        """This value of a function at `of`, whose derivative is stated instead of derived."""
        return self.trace.make("given", self, of, slope)


def in_order(values: Iterable[Value]) -> Iterator[Value]:
    """Everything that these values need and themselves, operands first."""
    found: dict[int, Value] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value.index not in found:
            found[value.index] = value
            waiting += value.args
    return (found[index] for index in sorted(found))


def needed(values: Iterable[Value], known: Container[int]) -> list[Value]:
    """What has to be computed for these values, operands first.

    Args:
        known: indices of expressions that are there already, with all they were computed from.
    """
    found: dict[int, Value] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value.index not in found and value.index not in known:
            found[value.index] = value
            waiting += operands(value)
    return [found[index] for index in sorted(found)]


def operands(value: Value) -> tuple[Value, ...]:
    """What a value is computed from; the stated derivative of a function is not among it."""
    return value.args[:1] if value.op == "given" else value.args


def depends_on(values: Iterable[Value], inputs: Iterable[Value]) -> set[int]:
    """The indices of those expressions that the inputs change."""
    own = {each.index for each in inputs}
    for value in in_order(values):
        if any(each.index in own for each in value.args):
            own.add(value.index)
    return own


def _simplified(trace: Trace, op: str, args: tuple[Value, ...]) -> Value | None:
    numbers = [each.constant for each in args]
    if op in _OF_NUMBERS and None not in numbers:
        return trace.number(_OF_NUMBERS[op](*numbers))
    rule = _RULES.get(op)
    return rule(args, numbers) if rule else None


def _add(args: tuple[Value, ...], numbers: list[float | None]) -> Value | None:
    if numbers[0] == 0.0:
        return args[1]
    return args[0] if numbers[1] == 0.0 else None


def _sub(args: tuple[Value, ...], numbers: list[float | None]) -> Value | None:
    if numbers[1] == 0.0:
        return args[0]
    return -args[1] if numbers[0] == 0.0 else None


def _mul(args: tuple[Value, ...], numbers: list[float | None]) -> Value | None:
    for own, other in ((0, 1), (1, 0)):
        if numbers[own] == 0.0:
            return args[own]
        if numbers[own] == 1.0:
            return args[other]
        if numbers[own] == -1.0:
            return -args[other]
    return None


def _div(args: tuple[Value, ...], numbers: list[float | None]) -> Value | None:
    if numbers[0] == 0.0 or numbers[1] == 1.0:
        return args[0]
    return None


def _neg(args: tuple[Value, ...], numbers: list[float | None]) -> Value | None:
    return args[0].args[0] if args[0].op == "neg" else None


def _where(args: tuple[Value, ...], numbers: list[float | None]) -> Value | None:
    return args[1] if args[1] is args[2] else None


_RULES = {"add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "where": _where}
_OF_NUMBERS: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "exp": math.exp,
    "maximum": max,
}
