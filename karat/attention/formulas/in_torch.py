"""The value of expressions for given tensors, without autograd."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from karat.attention.formulas.expressions import Value, needed, operands

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "both": lambda a, b: a & b,
    "negation": lambda a: ~a,
    "abs": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "floor": torch.floor,
    "maximum": lambda a, least: a.clamp(min=least),
    "where": torch.where,
    "given": lambda value: value,
}


def evaluate(values: Sequence[Value], inputs: Mapping[Value, Tensor]) -> list[Tensor | float]:
    """Each value, broadcast as the operations do; a constant stays a number.

    Args:
        values: expressions of one trace.
        inputs: tensors for the inputs of the trace that they need.
    """
    found: dict[int, Any] = {value.index: tensor for value, tensor in inputs.items()}
    order = needed(values, found)
    uses = Counter(each.index for value in order for each in operands(value))
    uses.update(value.index for value in values)
    for value in order:
        args = [found[each.index] for each in operands(value)]
        number = value.constant
        found[value.index] = OPERATIONS[value.op](*args) if number is None else number
        for arg in operands(value):  # what nothing else needs is let go
            uses[arg.index] -= 1
            if not uses[arg.index]:
                del found[arg.index]
    return [found[value.index] for value in values]
