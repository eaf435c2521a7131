"""torch.vmap for an operation without batching: one call after another."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def one_by_one(operation: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A rule for `register_vmap` of an operation that returns one tensor or several."""

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        found = [
            operation(*(_at(x, dim, i) for x, dim in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        if isinstance(found[0], Tensor):
            return torch.stack(found), 0
        kind = type(found[0])
        return kind(torch.stack(each) for each in zip(*found, strict=True)), kind(
            [0] * len(found[0])
        )

    return rule


def _at(x: Any, dim: Any, index: int) -> Any:
    """Argument `x` of call `index`; `dim` is the batched dimension, or a list of them for a list."""
    if isinstance(x, list | tuple):
        dims = dim if isinstance(dim, list | tuple) else [dim] * len(x)
        return [_at(each, own, index) for each, own in zip(x, dims, strict=True)]
    return x if dim is None else x.select(dim, index)
