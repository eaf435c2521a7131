"""Rows on the GPU, fused: scores, features and units are never written to memory.

Shapes as in `karat.attention.kernels`; F features, K numbers that are prepared for each unit. A
kernel works on blocks of N queries, M keys, R outputs and head width D; R and D are padded with
zeros to the powers of two that a block product needs. What a feature or a unit is comes from
functions that are generated from the formula of the basis (`karat.attention.formulas.in_triton`).

Forward (`_forward`): one program per block of queries of a head. It computes scores with a block of
keys, then all features of each and their product with the weights; or, for units that share no
features, one unit after another of each score, with what is computed once per unit prepared by torch.

Backward: only q, k and parameters are kept; each of three gradients recomputes the features. The
gradient of q has one program per block of queries (`_sides`); those of k and of the parameters have
one per block of keys. A program for parameters (`_learned`) loops over the queries of its share of
the images and accumulates in registers; the few programs that share a weight write partial sums,
which are added afterwards. There are no atomics, so that the same call gives the same bits.
"""

from typing import Any

import torch
from torch import Tensor

from karat.attention.kernels import Kernel, Task, Units
from karat.attention.kernels._parameters import parameters_of
from karat.attention.kernels.triton._jit import INTERPRETED, triton
from karat.attention.kernels.triton._operations import FAILED, rows, rows_backward

MAX_FEATURES = 64
MAX_OUTPUTS = 64
MAX_WIDTH = 256
DTYPES = ("torch.float32", "torch.bfloat16", "torch.float16")


class Triton(Kernel):
    """Every basis that states a formula, with any base activation, on a CUDA device; or, in tests, on
    the CPU with Triton's interpreter.

    Everything is float32 for float32 queries and keys. For bfloat16 and float16, the products in a
    score are exact and summed in float32; the other products take three passes of TF32, which keep
    about 21 bits.
    """

    def refusal(self, task: Task) -> str | None:
        dtype = task.dtype.removeprefix("torch.")
        limits = {
            "triton is not installed": triton is None,
            f"basis {task.basis} states no formula": not task.has_formula,
            f"at most {MAX_FEATURES} features, got {task.features}": task.features > MAX_FEATURES,
            f"R at most {MAX_OUTPUTS}, got {task.outputs}": task.outputs > MAX_OUTPUTS,
            f"head width at most {MAX_WIDTH}, got {task.head_dim}": task.head_dim > MAX_WIDTH,
            f"dtype must be float32, bfloat16 or float16, not {dtype}": task.dtype not in DTYPES,
            f"needs a CUDA device, not {task.device}": task.device != "cuda"
            and not (INTERPRETED and task.device == "cpu"),
            f"basis {task.basis} was not compiled: {FAILED.get(task.spec)}": task.spec in FAILED,
        }
        return next((limit for limit, broken in limits.items() if broken), None)

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        parameters = parameters_of(units, q_BHND.dtype)
        found: Tensor = _Rows.apply(scale, units.spec, q_BHND, k_BHMD, *parameters)
        return found


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
        need_q, need_k, *need = ctx.needs_input_grad[2:]
        needed = (need_q, need_k, any(need))
        found = iter(_RowsBackward.apply(ctx.scale, ctx.spec, *needed, grad, *ctx.saved_tensors))
        grads = [None if each is None else next(found) for each in ctx.saved_tensors]
        asked = zip(grads, ctx.needs_input_grad[2:], strict=True)
        return None, None, *(each if need else None for each, need in asked)


class _RowsBackward(torch.autograd.Function):
    """`rows_backward`; a second derivative is refused."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        scale: float,
        spec: str,
        need_q: bool,
        need_k: bool,
        need_parameters: bool,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        *parameters: Any,
    ) -> tuple[Tensor, ...]:
        unit_scale, base_scale, *coefficients = parameters
        needed = (need_q, need_k, need_parameters)
        return tuple(
            rows_backward(grad, q, k, coefficients, unit_scale, base_scale, scale, spec, *needed)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "kernel triton has no second derivative; use attention.kernel: reference"
        )


# Dynamo cannot trace autograd functions with a variable number of arguments (torch 2.13, 2.14);
# AOTAutograd, which runs after it, can.
torch.compiler.allow_in_graph(_Rows)  # type: ignore[no-untyped-call]
