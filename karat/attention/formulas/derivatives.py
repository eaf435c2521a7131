"""Derivatives of expressions, as expressions of the same trace.

Where an operation has no derivative (a floor, a comparison, the sign of 0) it counts as 0, as in
torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from karat.attention.formulas.expressions import Value, depends_on, in_order


def slopes(values: Iterable[Value], by: Value) -> list[Value]:
    """The derivative of each value by the input `by`."""
    values = list(values)
    found: dict[int, Value] = {by.index: by.trace.number(1.0)}
    zero = by.trace.number(0.0)
    for value in in_order(values):
        if value.index in found:
            continue
        total = zero
        for arg, part in zip(value.args, _parts(value), strict=True):
            inner = found.get(arg.index, zero)
            if part is not None and inner is not zero:
                total = total + part(inner)
        found[value.index] = total
    return [found[value.index] for value in values]


def gradients(above: Mapping[Value, Value], by: Iterable[Value]) -> list[Value]:
    """The derivative of `sum above[value] * value` by each expression in `by`.

    Expressions in `by` count as independent of one another: what one of them is computed from gets
    nothing through it.
    """
    by = list(by)
    leaves = {each.index for each in by}
    relevant = depends_on(above, by)
    found: dict[int, Value] = {}

    def add(value: Value, gradient: Value) -> None:
        known = found.get(value.index)
        found[value.index] = gradient if known is None else known + gradient

    for value, gradient in above.items():
        add(value, gradient)
    for value in reversed(list(in_order(above))):
        if value.index not in found or value.index not in relevant or value.index in leaves:
            continue
        for arg, part in zip(value.args, _parts(value), strict=True):
            if part is not None and arg.index in relevant:
                add(arg, part(found[value.index]))
    return [found.get(each.index, each.trace.number(0.0)) for each in by]


Part = Callable[[Value], Value]


def _parts(value: Value) -> tuple[Part | None, ...]:
    """For each operand, what turns a factor into that factor times the derivative by the operand."""
    rule = _RULES.get(value.op)
    return rule(value, *value.args) if rule else (None,) * len(value.args)


def _product(value: Value, a: Value, b: Value) -> tuple[Part | None, ...]:
    return lambda g: g * b, lambda g: g * a


def _quotient(value: Value, a: Value, b: Value) -> tuple[Part | None, ...]:
    return lambda g: g / b, lambda g: -(g / b) * value


def _maximum(value: Value, a: Value, b: Value) -> tuple[Part | None, ...]:
    below = a < b
    return (
        lambda g: g.trace.number(0.0).where(below, g),
        lambda g: g.where(below, 0.0),
    )


def _where(value: Value, condition: Value, a: Value, b: Value) -> tuple[Part | None, ...]:
    return (
        None,
        lambda g: g.where(condition, 0.0),
        lambda g: g.trace.number(0.0).where(condition, g),
    )


_RULES: dict[str, Callable[..., tuple[Part | None, ...]]] = {
    "add": lambda value, a, b: (lambda g: g, lambda g: g),
    "sub": lambda value, a, b: (lambda g: g, lambda g: -g),
    "mul": _product,
    "div": _quotient,
    "neg": lambda value, a: (lambda g: -g,),
    "abs": lambda value, a: (lambda g: g * a.sign(),),
    "exp": lambda value, a: (lambda g: g * value,),
    "sin": lambda value, a: (lambda g: g * a.cos(),),
    "cos": lambda value, a: (lambda g: -g * a.sin(),),
    "sigmoid": lambda value, a: (lambda g: g * value * (1.0 - value),),
    "tanh": lambda value, a: (lambda g: g * (1.0 - value * value),),
    "erf": lambda value, a: (lambda g: g * (2.0 / math.sqrt(math.pi)) * (-(a * a)).exp(),),
    "maximum": _maximum,
    "where": _where,
    "given": lambda value, own, of, slope: (None, lambda g: g * slope, None),
}
