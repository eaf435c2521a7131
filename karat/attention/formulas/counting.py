"""How much arithmetic a formula takes, counted from its expressions.

The unit is one multiply-add. Functions count as many as they take time for: the weights are ratios of
times in the compiled kernel, vectors of 16, on one core of an AMD EPYC with AVX-512
(`python -m benchmarks.elementary`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Container, Iterable

from karat.attention.formulas.expressions import Value, needed, operands
from karat.attention.formulas.programs import Shared, Unit, program_of
from karat.attention.work import Work

WEIGHTS = {
    "div": 3.0,
    "exp": 15.0,
    "sin": 12.0,
    "cos": 14.0,
    "tanh": 29.0,
    "sigmoid": 18.0,
    "erf": 14.0,
    "floor": 4.0,
    "sign": 2.5,
}
"""Multiply-adds of one function; every other operation counts 1."""
BOTH = 19.0  # sine and cosine of the same angle, which are computed together
_FREE = frozenset({"input", "number", "given"})


@functools.lru_cache(maxsize=1024)
def unit_work(spec: str, has_scale: bool, outputs: int, sums: int = 4) -> Work | None:
    """The work of the units of one input of a table, for one score; None for a basis without a formula.

    As the kernels compute it: once in the forward pass, and again in the backward pass.

    Args:
        spec: `Units.spec`.
        has_scale: whether units have a scale.
        outputs: R, the units of an input.
        sums: how often features are summed with a weight for each unit: forward, for the gradients of
            weights and scores, and in the backward pass again if it needs the rows.
    """
    program = program_of(spec, has_scale)
    if program is None:
        return None
    work = Work()
    if program.shared is not None:
        work += _of_shared(program.shared, sums * outputs)
    if program.unit is not None:
        work += _of_unit(program.unit) * outputs
    return work


def _of_shared(shared: Shared, products: int) -> Work:
    """Features twice, their slopes, and a number of products with each feature."""
    slopes, count = 0.0, len(shared.terms)
    if shared.closed is None:
        slopes = operations(shared.slopes, {each.index for each in (shared.x, *shared.known)})
    return Work(
        products=float(count * (products + 1)), functions=2 * operations(shared.terms) + slopes
    )


def _of_unit(unit: Unit) -> Work:
    known = {each.index for each in unit.prepared}
    asked = [unit.value, unit.by_score, *unit.by_parts]
    # Each value is added to a sum.
    once = operations([unit.value], known) + 1
    return Work(functions=once + operations(asked, known) + len(asked))


def operations(values: Iterable[Value], known: Container[int] = frozenset()) -> float:
    """The multiply-adds that compute some expressions of one trace, each expression once.

    A product that is only added to something counts with that sum.

    Args:
        known: indices of expressions that are there already.
    """
    values = list(values)
    todo = [each for each in needed(values, known) if each.op not in _FREE]
    uses = Counter(arg.index for each in todo for arg in operands(each))
    uses.update(each.index for each in values)
    summed = {arg.index for each in todo if each.op in ("add", "sub") for arg in _one(each, uses)}
    angles = Counter(each.args[0].index for each in todo if each.op in ("sin", "cos"))
    total = 0.0
    for each in todo:
        if each.op in ("sin", "cos") and angles[each.args[0].index] == 2:
            total += BOTH / 2
        elif each.index not in summed:
            total += WEIGHTS.get(each.op, 1.0)
    return total


def _one(total: Value, uses: Counter[int]) -> list[Value]:
    """The product that is computed with a sum, if there is one."""
    return [each for each in operands(total) if each.op == "mul" and uses[each.index] == 1][:1]
