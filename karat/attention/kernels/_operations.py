"""The custom operations of the kernel `recompute`, which torch.compile does not trace into.

They call `fourier.cpp` if possible, otherwise torch operations in blocks. Shapes as in
`karat.attention.kernels`. Arguments: q (B, H, N, D) and k (B, H, M, D) of any strides; the
coefficients of the units (P, R, M, own), scales of the units and of the base activation (P, R, M)
or None, all in float32 or float64; the scale of the scores; and `Units.spec`. Gradients are
returned for all tensors that are not None, those of parameters last: scales of the units and of the
base activation, then each coefficient.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from karat.attention.kernels import _compiled
from karat.attention.kernels._blocks import rows_backward_in_blocks, rows_in_blocks
from karat.attention.kernels._features import feature_weights, feature_weights_backward
from karat.attention.kernels._vmap import one_by_one
from karat.attention.precision import without_autocast


@torch.library.custom_op("karat::linear_rows", mutates_args=())
def linear_rows(
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    """`sum_m unit_rm(scale q kᵀ)`, shape (B, H, R, N)."""
    if _is_compiled(q, k, coefficients, spec):
        compiled: Tensor = torch.ops.karat_native.fourier_rows(
            *_plain(q, k), *coefficients, unit_scale, scale
        )
        return compiled
    with without_autocast(q.device):
        weights = feature_weights(coefficients, unit_scale, base_scale, spec)
        return rows_in_blocks(q, k, weights, scale, spec)


@torch.library.custom_op("karat::linear_rows_backward", mutates_args=())
def linear_rows_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> list[Tensor]:
    """Gradients of q, k and the parameters, given that of the rows (B, H, R, N)."""
    if _is_compiled(q, k, coefficients, spec):
        grad_q, grad_k, grad_a, grad_b, grad_scale = torch.ops.karat_native.fourier_rows_backward(
            *_plain(grad, q, k), *coefficients, unit_scale, scale
        )
        grad_scales = [] if unit_scale is None else [grad_scale]
        return [grad_q.to(q.dtype), grad_k.to(k.dtype), *grad_scales, grad_a, grad_b]
    with without_autocast(q.device):
        weights = feature_weights(coefficients, unit_scale, base_scale, spec)
        grad_q, grad_k, grad_weights, _ = rows_backward_in_blocks(grad, q, k, weights, scale, spec)
        found = feature_weights_backward(grad_weights, coefficients, unit_scale, base_scale)
        return [grad_q, grad_k, *_copies(found)]


@torch.library.custom_op("karat::linear_attend", mutates_args=())
def linear_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    matrix: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    """`Φ̂(scale q kᵀ) (Wᵀ V)`, shape (B, H, N, D), with the memory layout (B, N, H, D).

    Args:
        v: values (B, H, M, D), any strides.
        matrix: W, (P, M, R).
    """
    if _is_compiled(q, k, coefficients, spec):
        compiled: Tensor = torch.ops.karat_native.fourier_attend(
            *_plain(q, k, v), matrix.contiguous(), *coefficients, unit_scale, scale
        )
        return compiled
    with without_autocast(q.device):
        weights = feature_weights(coefficients, unit_scale, base_scale, spec)
        rows_BHRN = rows_in_blocks(q, k, weights, scale, spec)
        return _out_like(q, matrix).copy_(rows_BHRN.mT @ _narrow(matrix, v))


@torch.library.custom_op("karat::linear_attend_backward", mutates_args=())
def linear_attend_backward(
    grad: Tensor,
    qkv: Sequence[Tensor],
    matrix: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> list[Tensor]:
    """Gradients of the tensors in `qkv`, of W and of the parameters, given that of the output.

    Args:
        grad: gradient of the output (B, H, N, D), any strides.
        qkv: queries, keys and values, or one packed tensor (3, B, H, N, D). The gradient of a packed
            tensor has the memory layout (B, N, 3, H, D), so that the backward pass of the
            projection needs no copy.
    """
    q, k, v = three(qkv)
    if _is_compiled(q, k, coefficients, spec):
        grads = _grads_like(qkv, matrix.dtype)
        grad_matrix, grad_a, grad_b, grad_scale = torch.ops.karat_native.fourier_attend_backward(
            *_plain(grad, q, k, v), matrix.contiguous(), *coefficients, unit_scale, scale,
            *three(grads),
        )  # fmt: skip
        grad_parameters = [*([] if unit_scale is None else [grad_scale]), grad_a, grad_b]
    else:
        with without_autocast(q.device):
            weights = feature_weights(coefficients, unit_scale, base_scale, spec)
            grads, grad_weights, grad_matrix = _attend_backward_in_blocks(
                grad, qkv, weights, matrix, scale, spec
            )
            found = feature_weights_backward(grad_weights, coefficients, unit_scale, base_scale)
            grad_parameters = _copies(found)
    own = [each.to(like.dtype) for each, like in zip(grads, qkv, strict=True)]
    return [*own, grad_matrix, *grad_parameters]


def _attend_backward_in_blocks(
    grad: Tensor, qkv: Sequence[Tensor], weights: Tensor, matrix: Tensor, scale: float, spec: str
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of the tensors in `qkv`, of the weights of features and of W."""
    q, k, v = three(qkv)
    grads = _grads_like(qkv, matrix.dtype)
    grad_out = grad.to(matrix.dtype)
    grad_q, grad_k, grad_weights, rows_BHRN = rows_backward_in_blocks(
        _narrow(matrix, v) @ grad_out.mT, q, k, weights, scale, spec
    )
    grad_narrow = rows_BHRN @ grad_out
    operators, sharing = matrix.shape[0], v.shape[1] // matrix.shape[0]
    grad_v = matrix.repeat_interleave(sharing, 0) @ grad_narrow
    grad_heads = torch.einsum("bhmd,bhrd->hmr", v.to(matrix.dtype), grad_narrow)
    grad_matrix = grad_heads.view(operators, sharing, *matrix.shape[1:]).sum(1)
    for into, found in zip(three(grads), (grad_q, grad_k, grad_v), strict=True):
        into.copy_(found)
    return grads, grad_weights, grad_matrix


def three(qkv: Sequence[Tensor]) -> Sequence[Tensor]:
    """q, k and v from a list of one packed tensor (3, B, H, N, D) or of three tensors."""
    return qkv[0].unbind(0) if len(qkv) == 1 else qkv


def _narrow(matrix_PMR: Tensor, v_BHMD: Tensor) -> Tensor:
    """Wᵀ V, shape (B, H, R, D)."""
    sharing = v_BHMD.shape[1] // matrix_PMR.shape[0]
    return matrix_PMR.mT.repeat_interleave(sharing, 0) @ v_BHMD.to(matrix_PMR.dtype)


def _copies(grads: Iterable[Tensor | None]) -> list[Tensor]:
    """Copies of the gradients that are not None: results of a custom op must not share memory."""
    return [each.clone(memory_format=torch.contiguous_format) for each in _given(*grads)]


def _out_like(q: Tensor, matrix: Tensor) -> Tensor:
    batch, heads, tokens, width = q.shape
    return matrix.new_empty(batch, tokens, heads, width).transpose(1, 2)


def _grads_like(qkv: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    if len(qkv) > 1:
        return [each.new_empty(each.shape, dtype=dtype) for each in qkv]
    _, batch, heads, tokens, width = qkv[0].shape
    shape = (batch, tokens, 3, heads, width)
    return [qkv[0].new_empty(shape, dtype=dtype).permute(2, 0, 3, 1, 4)]


# -- compiled, for Fourier on the CPU ---------------------------------------------------------


def _is_compiled(q: Tensor, k: Tensor, coefficients: Sequence[Tensor], spec: str) -> bool:
    name, _, base = json.loads(spec)
    return (
        (q.device.type, name, base) == ("cpu", "fourier", "zero")
        and coefficients[0].dtype == torch.float32
        and coefficients[0].shape[3] <= _compiled.LARGEST_GRID
        and min(q.numel(), k.numel()) > 0
        and _compiled.is_available()
    )


def _plain(*tensors: Tensor) -> Iterator[Tensor]:
    """In float32, with each head a row-major matrix for BLAS; copied only if it is not one yet."""
    for tensor in tensors:
        wide = tensor.float()
        rows, columns = wide.shape[-2:]
        side_by_side = columns == 1 or wide.stride(-1) == 1
        apart = rows == 1 or wide.stride(-2) >= columns
        yield wide if side_by_side and apart else wide.contiguous()


# -- shapes of what is returned ---------------------------------------------------------------


@linear_rows.register_fake
def _(
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    some = coefficients[0]
    return some.new_empty(*q.shape[:2], some.shape[1], q.shape[2])


@linear_rows_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> list[Tensor]:
    return [
        each.new_empty(each.shape) for each in _given(q, k, unit_scale, base_scale, *coefficients)
    ]


@linear_attend.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    matrix: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    return _out_like(q, matrix)


@linear_attend_backward.register_fake
def _(
    grad: Tensor,
    qkv: Sequence[Tensor],
    matrix: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> list[Tensor]:
    grad_qkv = _grads_like(qkv, qkv[0].dtype)
    if len(qkv) > 1:
        grad_qkv = [each.new_empty(each.shape) for each in qkv]
    own = _given(matrix, unit_scale, base_scale, *coefficients)
    return [*grad_qkv, *(each.new_empty(each.shape) for each in own)]


def _given(*tensors: Tensor | None) -> list[Tensor]:
    return [each for each in tensors if each is not None]


for _each in (linear_rows, linear_rows_backward, linear_attend, linear_attend_backward):
    _each.register_vmap(one_by_one(_each))
