"""Rows and their gradients in torch operations, for any device and dtype; shapes as in `_operations`."""

import json

import torch
from torch import Tensor

from karat.attention.bases import BASES, LinearBasis
from karat.attention.kernels._blocks import rows_backward_in_blocks, rows_in_blocks
from karat.attention.kernels._features import (
    Parameters,
    feature_weights,
    feature_weights_backward,
)
from karat.attention.kernels._unit_blocks import (
    unit_rows_backward_in_blocks,
    unit_rows_in_blocks,
)
from karat.attention.precision import without_autocast


def rows_by_torch(
    q: Tensor,
    k: Tensor,
    parameters: Parameters,
    scale: float,
    spec: str,
) -> Tensor:
    """The rows, shape (B, H, R, N)."""
    with without_autocast(q.device):
        if _is_linear(spec):
            return rows_in_blocks(q, k, feature_weights(*parameters, spec), scale, spec)
        return unit_rows_in_blocks(q, k, parameters, scale, spec)


def rows_backward_by_torch(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    parameters: Parameters,
    scale: float,
    spec: str,
) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """Gradients of q, k and the parameters, given that of the rows; and the rows."""
    with without_autocast(q.device):
        if not _is_linear(spec):
            return unit_rows_backward_in_blocks(grad, q, k, parameters, scale, spec)
        weights = feature_weights(*parameters, spec)
        grad_q, grad_k, grad_weights, rows = rows_backward_in_blocks(
            grad, q, k, weights, scale, spec
        )
        found = feature_weights_backward(grad_weights, *parameters)
        # Copies, since results of a custom operation must not share memory.
        own = [
            each.clone(memory_format=torch.contiguous_format) for each in found if each is not None
        ]
        return grad_q, grad_k, own, rows


def _is_linear(spec: str) -> bool:
    name = json.loads(spec)[0]
    return issubclass(BASES[name], LinearBasis)
