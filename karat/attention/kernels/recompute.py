"""Attention without stored scores and features: the backward pass recomputes them.

Only queries, keys and values in the layout of the host's qkv projection, and the parameters, are
kept for the backward pass. On the CPU a basis that states a formula is compiled if there is a
compiler; everything else uses torch operations. Shapes as in `karat.attention.kernels`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from karat.attention.bases import LinearBasis
from karat.attention.kernels import QKV, Kernel, Task, Units
from karat.attention.kernels._compiled import warn_without_formula
from karat.attention.kernels._operations import (
    attend,
    attend_backward,
    rows,
    rows_backward,
    three,
)
from karat.attention.kernels._parameters import parameters_of
from karat.attention.kernels.reference import Reference


class Recompute(Kernel):
    """Supports any basis; one that has neither features nor a formula, with torch's checkpointing."""

    def refusal(self, task: Task) -> str | None:
        return None

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        if _is_supported(units):
            parameters = parameters_of(units, q_BHND.dtype)
            rows_BHRN: Tensor = _Rows.apply(scale, units.spec, q_BHND, k_BHMD, *parameters)
            return rows_BHRN.transpose(-2, -1)
        if not torch.compiler.is_compiling():
            warn_without_formula(units.basis_name)
        # Checkpointing needs saved-tensor hooks, which torch.func does not support.
        if not torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            return Reference().rows(q_BHND, k_BHMD, scale, units)
        rows: Tensor = checkpoint(
            Reference().rows, q_BHND, k_BHMD, scale, units, use_reentrant=False
        )
        return rows

    def attend(self, qkv: QKV, scale: float, units: Units, matrix_PMR: Tensor) -> Tensor:
        if not _is_supported(units):
            return super().attend(qkv, scale, units, matrix_PMR)
        return _attended(qkv, scale, units, matrix_PMR)

    def attend_rows(self, qkv: QKV, scale: float, units: Units) -> Tensor:
        if not _is_supported(units):
            return super().attend_rows(qkv, scale, units)
        return _attended(qkv, scale, units, None)


def _attended(qkv: QKV, scale: float, units: Units, matrix_PMR: Tensor | None) -> Tensor:
    tensors = (qkv,) if isinstance(qkv, Tensor) else tuple(qkv)
    parameters = parameters_of(units, tensors[0].dtype)
    matrix = None if matrix_PMR is None else matrix_PMR.to(parameters[-1].dtype)
    out: Tensor = _Attend.apply(scale, units.spec, len(tensors), *tensors, matrix, *parameters)
    return out


def _is_supported(units: Units) -> bool:
    return isinstance(units.basis, LinearBasis) or units.basis.has_formula


class _Rows(torch.autograd.Function):
    """`rows` with its gradient. Inputs: scale, spec, q, k and `parameters_of`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scale: float, spec: str, q: Tensor, k: Tensor, *parameters: Any) -> Tensor:
        unit_scale, base_scale, *coefficients = parameters
        found: Tensor = rows(q, k, coefficients, unit_scale, base_scale, scale, spec)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.scale, ctx.spec, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found = iter(_RowsBackward.apply(ctx.scale, ctx.spec, grad, *ctx.saved_tensors))
        return None, None, *(None if each is None else next(found) for each in ctx.saved_tensors)


class _RowsBackward(torch.autograd.Function):
    """`rows_backward`; a second derivative is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        scale: float, spec: str, grad: Tensor, q: Tensor, k: Tensor, *parameters: Any
    ) -> tuple[Tensor, ...]:
        unit_scale, base_scale, *coefficients = parameters
        return tuple(rows_backward(grad, q, k, coefficients, unit_scale, base_scale, scale, spec))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise _no_second_derivative()


class _Attend(torch.autograd.Function):
    """`Φ̂(A) (Wᵀ V)`, or `Φ(A) V`, which keeps only its inputs for the backward pass.

    Inputs: scale, spec, the number of tensors with q, k and v (1 or 3), these, W or None,
    `parameters_of`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(scale: float, spec: str, count: int, *tensors: Any) -> Tensor:
        matrix, unit_scale, base_scale, *coefficients = tensors[count:]
        qkv = three(tensors[:count])
        out: Tensor = attend(*qkv, matrix, coefficients, unit_scale, base_scale, scale, spec)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.scale, ctx.spec, ctx.count, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept = ctx.saved_tensors
        found = iter(_AttendBackward.apply(ctx.scale, ctx.spec, ctx.count, grad, *kept))
        return None, None, None, *(None if each is None else next(found) for each in kept)


class _AttendBackward(torch.autograd.Function):
    """`attend_backward`; a second derivative is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        scale: float, spec: str, count: int, grad: Tensor, *tensors: Any
    ) -> tuple[Tensor, ...]:
        matrix, unit_scale, base_scale, *coefficients = tensors[count:]
        qkv = tensors[:count]
        return tuple(
            attend_backward(grad, qkv, matrix, coefficients, unit_scale, base_scale, scale, spec)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise _no_second_derivative()


def _no_second_derivative() -> RuntimeError:
    return RuntimeError(
        "kernel recompute has no second derivative; use attention.kernel: reference"
    )


# Dynamo cannot trace autograd functions with a variable number of arguments (torch 2.13, 2.14);
# AOTAutograd, which runs after it, can.
for _function in (_Rows, _Attend):
    torch.compiler.allow_in_graph(_function)  # type: ignore[no-untyped-call]
