"""The formula of a basis with its base activation, and the derivatives that a kernel needs."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import BASES, Basis, LinearBasis, UnitBasis
from karat.attention.formulas.derivatives import gradients, slopes
from karat.attention.formulas.expressions import Trace, Value, depends_on, in_order
from karat.settings import build


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The features that all units share, of a score `x`.

    Args:
        terms: one expression for each feature, the base activation last.
        known: inputs that stand for the values of the terms, in `slopes`.
        slopes: the derivative of each term by the score, in `x` and `known`.
        closed: if each slope is a number times one term, those numbers, [slope][term].
    """

    x: Value
    terms: tuple[Value, ...]
    known: tuple[Value, ...]
    slopes: tuple[Value, ...]
    closed: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit that is evaluated by itself, of a score `x` and its coefficients.

    Args:
        coefficients: in the order of the basis, one input for each number; the scale of the unit
            last, if it has one.
        value: the unit.
        prepared: what is computed once per unit: the expressions of coefficients alone that the
            value or its derivatives use.
        above: an input, the gradient of the value.
        by_score: the gradient of the score.
        parts: those expressions in `prepared` on which the value depends.
        by_parts: the gradient of each part, of one score.
        sums: inputs, the sums of the gradients of the parts over all scores.
        by_coefficients: the gradient of each coefficient, in `coefficients` and `sums`.
    """

    x: Value
    coefficients: tuple[Value, ...]
    value: Value
    prepared: tuple[Value, ...]
    above: Value
    by_score: Value
    parts: tuple[Value, ...]
    by_parts: tuple[Value, ...]
    sums: tuple[Value, ...]
    by_coefficients: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a kernel computes for each score. At least one of the two is there.

    Args:
        has_base: whether the last shared feature is a base activation.
    """

    shared: Shared | None
    unit: Unit | None
    has_base: bool


@functools.lru_cache(maxsize=64)
def program_of(spec: str, has_scale: bool) -> Program | None:
    """The program for a `Units.spec`; None for a basis that states no formula, only torch code.

    Args:
        has_scale: whether a unit has a scale; only a unit evaluated by itself has it inside.
    """
    name, settings, base = json.loads(spec)
    basis: Basis = build(BASES[name], settings, "attention")
    if not basis.has_formula:
        return None
    linear = basis if isinstance(basis, LinearBasis) else None
    shared = _shared(linear, base) if linear or base != "zero" else None
    unit = _unit(basis, has_scale) if isinstance(basis, UnitBasis) else None
    return Program(shared=shared, unit=unit, has_base=base != "zero")


def _shared(basis: LinearBasis | None, base: str) -> Shared:
    trace = Trace()
    x = trace.input("x")
    terms = [_as_value(trace, each) for each in basis.terms(x)] if basis else []
    activation = BASE_ACTIVATIONS[base]
    known = [trace.input(f"known{f}") for f in range(len(terms))]
    stated = basis.term_slopes(x, known) if basis else []
    own = slopes(terms, x) if stated is None else [_as_value(trace, each) for each in stated]
    if activation is not None:
        with_base = activation(x)
        terms, own = [*terms, with_base], [*own, *slopes([with_base], x)]
    return Shared(
        x=x,
        terms=tuple(terms),
        known=tuple(known),
        slopes=tuple(own),
        closed=_closed(own, known) if activation is None else None,
    )


def _closed(own: list[Value], known: list[Value]) -> tuple[tuple[float, ...], ...] | None:
    """The numbers of the terms in each slope, if that is all it consists of."""
    rows = []
    for slope in own:
        factor, inner = 1.0, slope
        while inner.op in ("neg", "mul"):
            if inner.op == "neg":
                factor, inner = -factor, inner.args[0]
                continue
            a, b = inner.args
            number, inner = (a.constant, b) if a.constant is not None else (b.constant, a)
            if number is None:
                return None
            factor *= number
        if inner not in known:
            return None
        rows.append(tuple(factor if each is inner else 0.0 for each in known))
    return tuple(rows)


def _unit(basis: UnitBasis, has_scale: bool) -> Unit:
    trace = Trace()
    x, above = trace.input("x"), trace.input("above")
    named = {
        name: [trace.input(f"{name}{i}") for i in range(math.prod(shape))]
        for name, shape in basis.coefficient_shapes().items()
    }
    by_name = {
        name: named[name] if shape else named[name][0]
        for name, shape in basis.coefficient_shapes().items()
    }
    value = _as_value(trace, basis.unit(x, by_name))
    coefficients = [each for own in named.values() for each in own]
    if has_scale:
        coefficients.append(trace.input("scale"))
        value = value * coefficients[-1]
    moving = depends_on([value], [x])
    parts = _edge([value], moving)
    by_score, *by_parts = gradients({value: above}, [x, *parts])
    moving = depends_on([value, by_score, *by_parts], [x, above])
    sums = [trace.input(f"sum{i}") for i in range(len(parts))]
    return Unit(
        x=x,
        coefficients=tuple(coefficients),
        value=value,
        prepared=tuple(_edge([value, by_score, *by_parts], moving)),
        above=above,
        by_score=by_score,
        parts=tuple(parts),
        by_parts=tuple(by_parts),
        sums=tuple(sums),
        by_coefficients=tuple(
            gradients(dict(zip(parts, sums, strict=True)), coefficients),
        ),
    )


def _edge(values: list[Value], moving: set[int]) -> list[Value]:
    """What does not move but is used by something that does; numbers left out."""
    found = {
        arg.index: arg
        for value in in_order(values)
        if value.index in moving
        for arg in value.args
        if arg.index not in moving and arg.constant is None
    }
    return list(found.values())


def _as_value(trace: Trace, x: Value | float) -> Value:
    return x if isinstance(x, Value) else trace.number(x)
