"""Attention of which scores and features are not kept: the backward pass computes them again.

Kept are the queries, keys and values as they lie in the host's qkv projection, and the
parameters. For the Fourier basis on the CPU work goes through a compiled function where there is
a compiler (`fourier.cpp`), else through torch's own operations. Shapes as in `karat.kernels`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from karat.bases import LinearBasis
from karat.kernels import QKV, Kernel, Task, Units
from karat.kernels._features import feature_weights, feature_weights_backward
from karat.kernels._operations import (
    linear_attend,
    linear_attend_backward,
    linear_rows,
    linear_rows_backward,
    three,
)
from karat.kernels.reference import Reference


class Recompute(Kernel):
    """Takes any basis: one of shared features in blocks, any other checkpointed as a whole."""

    def refusal(self, task: Task) -> str | None:
        return None

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        if isinstance(units.basis, LinearBasis):
            dtype = torch.promote_types(q_BHND.dtype, torch.float32)
            weights_PRFM = units.feature_weights(dtype)
            rows_BHRN: Tensor = _Rows.apply(q_BHND, k_BHMD, weights_PRFM, scale, units.spec)
            return rows_BHRN.transpose(-2, -1)
        if not torch.is_grad_enabled():
            return Reference().rows(q_BHND, k_BHMD, scale, units)
        rows: Tensor = checkpoint(
            Reference().rows, q_BHND, k_BHMD, scale, units, use_reentrant=False
        )
        return rows

    def attend(self, qkv: QKV, scale: float, units: Units, matrix_PMR: Tensor) -> Tensor:
        tensors = (qkv,) if isinstance(qkv, Tensor) else tuple(qkv)
        wide = torch.promote_types(tensors[0].dtype, torch.float32)
        if not isinstance(units.basis, LinearBasis) or matrix_PMR.dtype != wide:
            return super().attend(qkv, scale, units, matrix_PMR)
        coefficients = [units.coefficients[name] for name in units.basis.coefficient_shapes()]
        parameters = (units.scale, units.base_scale, *coefficients)
        out: Tensor = _Attend.apply(
            scale, units.spec, len(tensors), *tensors, matrix_PMR, *parameters
        )
        return out


class _Rows(torch.autograd.Function):
    """`linear_rows` with its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str) -> Tensor:
        rows: Tensor = linear_rows(q, k, weights.contiguous(), scale, spec)
        return rows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.scale, ctx.spec = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (*_RowsBackward.apply(grad, *ctx.saved_tensors, ctx.scale, ctx.spec), None, None)


class _RowsBackward(torch.autograd.Function):
    """`linear_rows_backward`, whose own gradient is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        grad: Tensor, q: Tensor, k: Tensor, weights: Tensor, scale: float, spec: str
    ) -> tuple[Tensor, ...]:
        grads: tuple[Tensor, ...] = linear_rows_backward(
            grad, q, k, weights.contiguous(), scale, spec
        )
        return grads

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise _no_second_derivative()


class _Attend(torch.autograd.Function):
    """`Φ̂(A) (Wᵀ V)` of which only the inputs are kept: the projection, and the parameters.

    Inputs: scale, spec, how many tensors q, k and v are (1 or 3), these, W, the scales of units
    and base activation, the coefficients.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(scale: float, spec: str, count: int, *tensors: Any) -> Tensor:
        matrix, unit_scale, base_scale, *coefficients = tensors[count:]
        weights = feature_weights(coefficients, unit_scale, base_scale, spec).contiguous()
        out: Tensor = linear_attend(*three(tensors[:count]), weights, matrix, scale, spec)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.scale, ctx.spec, ctx.count, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv = ctx.saved_tensors[: ctx.count]
        matrix, unit_scale, base_scale, *coefficients = ctx.saved_tensors[ctx.count :]
        weights = feature_weights(coefficients, unit_scale, base_scale, ctx.spec).contiguous()
        *of_qkv, of_weights, of_matrix = _AttendBackward.apply(
            ctx.scale, ctx.spec, grad, weights, matrix, *qkv
        )
        of_parameters = feature_weights_backward(of_weights, coefficients, unit_scale, base_scale)
        return (None, None, None, *of_qkv, of_matrix, *of_parameters)


class _AttendBackward(torch.autograd.Function):
    """`linear_attend_backward`, whose own gradient is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        scale: float, spec: str, grad: Tensor, weights: Tensor, matrix: Tensor, *qkv: Tensor
    ) -> tuple[Tensor, ...]:
        return tuple(linear_attend_backward(grad, qkv, weights, matrix, scale, spec))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise _no_second_derivative()


def _no_second_derivative() -> RuntimeError:
    return RuntimeError("kernel recompute has no second derivative; set attention.kernel: reference")
