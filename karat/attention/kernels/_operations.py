"""The custom operations of the kernel `recompute`, which torch.compile does not trace into.

They call compiled functions if possible, otherwise torch operations in blocks. Shapes as in
`karat.attention.kernels`. Arguments: q (B, H, N, D) and k (B, H, M, D) of any strides; the
coefficients of the units (P, R, M, own), scales of the units and of the base activation (P, R, M)
or None, all in float32 or float64; the scale of the scores; and `Units.spec`. Gradients are
returned for all tensors that are not None, those of parameters last: scales of the units and of the
base activation, then each coefficient.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from karat.attention.kernels._by_torch import rows_backward_by_torch, rows_by_torch
from karat.attention.kernels._compiled import compiled_basis
from karat.attention.kernels._features import Parameters
from karat.attention.kernels._vmap import one_by_one
from karat.attention.precision import without_autocast


@torch.library.custom_op("karat::rows", mutates_args=())
def rows(
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    """`sum_m unit_rm(scale q kᵀ)`, shape (B, H, R, N)."""
    parameters = (coefficients, unit_scale, base_scale)
    if basis := _compiled_basis(q, k, parameters, spec):
        compiled: Tensor = torch.ops.karat_native.rows(*_plain(q, k), *parameters, scale, basis)
        return compiled
    return rows_by_torch(q, k, parameters, scale, spec)


@torch.library.custom_op("karat::rows_backward", mutates_args=())
def rows_backward(
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
    parameters = (coefficients, unit_scale, base_scale)
    if basis := _compiled_basis(q, k, parameters, spec):
        grad_q, grad_k, *found = torch.ops.karat_native.rows_backward(
            *_plain(grad, q, k), *parameters, scale, basis
        )
    else:
        grad_q, grad_k, found, _ = rows_backward_by_torch(grad, q, k, parameters, scale, spec)
    return [grad_q.to(q.dtype), grad_k.to(k.dtype), *found]


@torch.library.custom_op("karat::attend", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    matrix: Tensor | None,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    """`Φ̂(scale q kᵀ) (Wᵀ V)`, shape (B, H, N, D), with the memory layout (B, N, H, D).

    Args:
        v: values (B, H, M, D), any strides; without W (B, H, R, D).
        matrix: W, (P, M, R); None for `Φ(scale q kᵀ) V`.
    """
    parameters = (coefficients, unit_scale, base_scale)
    if basis := _compiled_basis(q, k, parameters, spec):
        compiled: Tensor = torch.ops.karat_native.attend(
            *_plain(q, k, v), _contiguous(matrix), *parameters, scale, basis
        )
        return compiled
    with without_autocast(q.device):
        rows_BHRN = rows_by_torch(q, k, parameters, scale, spec)
        return _out_like(q, v, coefficients[0]).copy_(rows_BHRN.mT @ _narrow(matrix, v, rows_BHRN))


@torch.library.custom_op("karat::attend_backward", mutates_args=())
def attend_backward(
    grad: Tensor,
    qkv: Sequence[Tensor],
    matrix: Tensor | None,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> list[Tensor]:
    """Gradients of the tensors in `qkv`, of W if there is one, and of the parameters.

    Args:
        grad: gradient of the output (B, H, N, D), any strides.
        matrix: W or None, as for `attend`.
        qkv: queries, keys and values, or one packed tensor (3, B, H, N, D). The gradient of a packed
            tensor has the memory layout (B, N, 3, H, D), so that the backward pass of the
            projection needs no copy.
    """
    q, k, v = three(qkv)
    parameters = (coefficients, unit_scale, base_scale)
    grads = _grads_like(qkv, coefficients[0].dtype)
    if basis := _compiled_basis(q, k, parameters, spec):
        found = torch.ops.karat_native.attend_backward(
            *_plain(grad, q, k, v), _contiguous(matrix), *parameters, scale, basis, *three(grads)
        )
    else:
        with without_autocast(q.device):
            found = _attend_backward_by_torch(
                grad, (q, k, v), matrix, parameters, scale, spec, three(grads)
            )
    return [*(each.to(like.dtype) for each, like in zip(grads, qkv, strict=True)), *found]


def _attend_backward_by_torch(
    grad: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    matrix: Tensor | None,
    parameters: Parameters,
    scale: float,
    spec: str,
    into: Sequence[Tensor],
) -> list[Tensor]:
    """Gradients of W and of the parameters; those of q, k and v are written `into` tensors."""
    q, k, v = qkv
    grad_out = grad.to(parameters[0][0].dtype)
    grad_q, grad_k, found, rows_BHRN = rows_backward_by_torch(
        _narrow(matrix, v, grad_out) @ grad_out.mT, q, k, parameters, scale, spec
    )
    grad_v = grad_narrow = rows_BHRN @ grad_out
    if matrix is not None:
        operators, sharing = matrix.shape[0], v.shape[1] // matrix.shape[0]
        grad_v = matrix.repeat_interleave(sharing, 0) @ grad_narrow
        grad_heads = torch.einsum("bhmd,bhrd->hmr", v.to(matrix.dtype), grad_narrow)
        found = [grad_heads.view(operators, sharing, *matrix.shape[1:]).sum(1), *found]
    for place, each in zip(into, (grad_q, grad_k, grad_v), strict=True):
        place.copy_(each)
    return found


def three(qkv: Sequence[Tensor]) -> Sequence[Tensor]:
    """q, k and v from a list of one packed tensor (3, B, H, N, D) or of three tensors."""
    return qkv[0].unbind(0) if len(qkv) == 1 else qkv


def _narrow(matrix_PMR: Tensor | None, v: Tensor, like: Tensor) -> Tensor:
    """Wᵀ V, shape (B, H, R, D), or V itself, in the dtype of `like`."""
    if matrix_PMR is None:
        return v.to(like.dtype)
    sharing = v.shape[1] // matrix_PMR.shape[0]
    return matrix_PMR.mT.repeat_interleave(sharing, 0) @ v.to(matrix_PMR.dtype)


def _out_like(q: Tensor, v: Tensor, coefficient: Tensor) -> Tensor:
    batch, heads, tokens, _ = q.shape
    return coefficient.new_empty(batch, tokens, heads, v.shape[3]).transpose(1, 2)


def _contiguous(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.contiguous()


def _grads_like(qkv: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    if len(qkv) > 1:
        return [each.new_empty(each.shape, dtype=dtype) for each in qkv]
    _, batch, heads, tokens, width = qkv[0].shape
    shape = (batch, tokens, 3, heads, width)
    return [qkv[0].new_empty(shape, dtype=dtype).permute(2, 0, 3, 1, 4)]


# -- compiled, on the CPU ---------------------------------------------------------------------


def _compiled_basis(q: Tensor, k: Tensor, parameters: Parameters, spec: str) -> int | None:
    """The compiled basis, as `torch.ops.karat_native` takes it, if it can compute this."""
    coefficients, unit_scale, _ = parameters
    if q.device.type != "cpu" or coefficients[0].dtype != torch.float32:
        return None
    if min(q.numel(), k.numel()) == 0:
        return None
    return compiled_basis(spec, unit_scale is not None)


def _plain(*tensors: Tensor) -> Iterator[Tensor]:
    """In float32, with each head a row-major matrix for BLAS; copied only if it is not one yet."""
    for tensor in tensors:
        wide = tensor.float()
        rows, columns = wide.shape[-2:]
        side_by_side = columns == 1 or wide.stride(-1) == 1
        apart = rows == 1 or wide.stride(-2) >= columns
        yield wide if side_by_side and apart else wide.contiguous()


# -- shapes of what is returned ---------------------------------------------------------------


@rows.register_fake
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


@rows_backward.register_fake
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


@attend.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    matrix: Tensor | None,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    return _out_like(q, v, coefficients[0])


@attend_backward.register_fake
def _(
    grad: Tensor,
    qkv: Sequence[Tensor],
    matrix: Tensor | None,
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


for _each in (rows, rows_backward, attend, attend_backward):
    _each.register_vmap(one_by_one(_each))
