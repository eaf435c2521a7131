"""The operations of the kernel `recompute`, opaque to torch.compile: compiled, or in blocks.

Shapes as in `karat.kernels`. Each takes q (B, H, N, D) and k (B, H, M, D) of any strides, the
weights (P, R, F, M) in float32 or float64, the scale of the scores, and `spec`, which features,
as `Units.spec` writes them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from karat.kernels import _compiled
from karat.kernels._blocks import rows_backward_in_blocks, rows_in_blocks
from karat.kernels._features import features_of


@torch.library.custom_op("karat::linear_rows", mutates_args=())
def linear_rows(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
    """`sum_m sum_f weights_rfm feature_f(scale q kᵀ)`, shape (B, H, R, N)."""
    if _is_compiled(q, k, weights, spec):
        compiled: Tensor = torch.ops.karat_native.fourier_rows(*_plain(q, k), weights, scale)
        return compiled
    return rows_in_blocks(q, k, weights, scale, spec)


@torch.library.custom_op("karat::linear_rows_backward", mutates_args=())
def linear_rows_backward(
    grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and weights, given that of the rows (B, H, R, N)."""
    if _is_compiled(q, k, weights, spec):
        slopes = features_of(spec).slope_weights(weights)
        of_q, of_k, of_weights = torch.ops.karat_native.fourier_rows_backward(
            *_plain(grad, q, k), weights, slopes, scale
        )
        return of_q.to(q.dtype), of_k.to(k.dtype), of_weights
    return rows_backward_in_blocks(grad, q, k, weights, scale, spec)[:3]


@torch.library.custom_op("karat::linear_attend", mutates_args=())
def linear_attend(
    q: Tensor, k: Tensor, v: Tensor, weights: Tensor, matrix: Tensor, scale: float, spec: str
) -> Tensor:
    """`Φ̂(scale q kᵀ) (Wᵀ V)`, shape (B, H, N, D), lying as (B, N, H, D).

    Args:
        v: values (B, H, M, D), any strides.
        matrix: W, (P, M, R).
    """
    if _is_compiled(q, k, weights, spec):
        compiled: Tensor = torch.ops.karat_native.fourier_attend(
            *_plain(q, k, v), weights, matrix.contiguous(), scale
        )
        return compiled
    rows_BHRN = rows_in_blocks(q, k, weights, scale, spec)
    out = _out_like(q, weights)
    return out.copy_(rows_BHRN.mT @ _narrow(matrix, v))


@torch.library.custom_op("karat::linear_attend_backward", mutates_args=())
def linear_attend_backward(
    grad: Tensor,
    qkv: Sequence[Tensor],
    weights: Tensor,
    matrix: Tensor,
    scale: float,
    spec: str,
) -> list[Tensor]:
    """Gradients of what stands in `qkv`, of weights and of W, given that of the output.

    Args:
        grad: (B, H, N, D), any strides.
        qkv: queries, keys and values, or one tensor of them (3, B, H, N, D); the gradient of one
            tensor lies as (B, N, 3, H, D), as the backward pass of a projection wants it.
    """
    q, k, v = three(qkv)
    grads = _grads_like(qkv, weights.dtype)
    if _is_compiled(q, k, weights, spec):
        slopes = features_of(spec).slope_weights(weights)
        of_weights, of_matrix = torch.ops.karat_native.fourier_attend_backward(
            *_plain(grad, q, k, v), weights, slopes, matrix.contiguous(), scale, *three(grads)
        )
    else:
        of_rows = _narrow(matrix, v) @ grad.to(weights.dtype).mT
        of_q, of_k, of_weights, rows_BHRN = rows_backward_in_blocks(
            of_rows, q, k, weights, scale, spec
        )
        of_narrow = rows_BHRN @ grad.to(weights.dtype)
        operators, sharing = matrix.shape[0], v.shape[1] // matrix.shape[0]
        of_v = matrix.repeat_interleave(sharing, 0) @ of_narrow
        of_heads = torch.einsum("bhmd,bhrd->hmr", v.to(of_narrow.dtype), of_narrow)
        of_matrix = of_heads.view(operators, sharing, *matrix.shape[1:]).sum(1)
        for into, found in zip(three(grads), (of_q, of_k, of_v), strict=True):
            into.copy_(found)
    own = [each.to(like.dtype) for each, like in zip(grads, qkv, strict=True)]
    return [*own, of_weights, of_matrix]


def three(qkv: Sequence[Tensor]) -> Sequence[Tensor]:
    """q, k and v of one tensor (3, B, H, N, D) in a list, or of three."""
    return qkv[0].unbind(0) if len(qkv) == 1 else qkv


def _narrow(matrix_PMR: Tensor, v_BHMD: Tensor) -> Tensor:
    """Wᵀ V, shape (B, H, R, D)."""
    sharing = v_BHMD.shape[1] // matrix_PMR.shape[0]
    return matrix_PMR.mT.repeat_interleave(sharing, 0) @ v_BHMD.to(matrix_PMR.dtype)


def _out_like(q: Tensor, weights: Tensor) -> Tensor:
    batch, heads, tokens, width = q.shape
    return weights.new_empty(batch, tokens, heads, width).transpose(1, 2)


def _grads_like(qkv: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    if len(qkv) > 1:
        return [each.new_empty(each.shape, dtype=dtype) for each in qkv]
    _, batch, heads, tokens, width = qkv[0].shape
    shape = (batch, tokens, 3, heads, width)
    return [qkv[0].new_empty(shape, dtype=dtype).permute(2, 0, 3, 1, 4)]


# -- compiled, for Fourier on the CPU ---------------------------------------------------------


def _is_compiled(q: Tensor, k: Tensor, weights: Tensor, spec: str) -> bool:
    name, _, base = json.loads(spec)
    return (
        (q.device.type, weights.dtype, name, base) == ("cpu", torch.float32, "fourier", "zero")
        and weights.shape[2] <= 2 * _compiled.LARGEST_GRID
        and min(q.numel(), k.numel()) > 0
        and _compiled.is_available()
    )


def _plain(*tensors: Tensor) -> Iterator[Tensor]:
    """In float32, each head a matrix as BLAS knows it; what is so already is taken as it lies."""
    for tensor in tensors:
        wide = tensor.float()
        rows, columns = wide.shape[-2:]
        side_by_side = columns == 1 or wide.stride(-1) == 1
        apart = rows == 1 or wide.stride(-2) >= columns
        yield wide if side_by_side and apart else wide.contiguous()


# -- shapes, and torch.vmap -------------------------------------------------------------------


@linear_rows.register_fake
def _(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
    return weights.new_empty(*q.shape[:2], weights.shape[1], q.shape[2])


@linear_rows_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
) -> tuple[Tensor, Tensor, Tensor]:
    of_q, of_k = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k))
    return of_q, of_k, torch.empty_like(weights)


@linear_attend.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, weights: Tensor, matrix: Tensor, scale: float, spec: str
) -> Tensor:
    return _out_like(q, weights)


@linear_attend_backward.register_fake
def _(
    grad: Tensor, qkv: Sequence[Tensor], weights: Tensor, matrix: Tensor, scale: float, spec: str
) -> list[Tensor]:
    own = [_grads_like(qkv, each.dtype)[place] for place, each in enumerate(qkv)]
    return [*own, torch.empty_like(weights), torch.empty_like(matrix)]
