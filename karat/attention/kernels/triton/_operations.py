"""The custom operations of the kernel `triton`, which torch.compile does not trace into.

Arguments: q (B, H, N, D) and k (B, H, M, D) of any strides and one dtype; the coefficients of the
units (P, R, M, own) or (P, R, M), scales of the units and of the base activation (P, R, M) or None,
in float32; the scale of the scores; and `Units.spec`. Where Triton does not compile the code, one
warning says so, and torch operations in blocks compute the call.
"""

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from karat.attention.kernels import Units
from karat.attention.kernels._by_torch import rows_backward_by_torch, rows_by_torch
from karat.attention.kernels._features import (
    Parameters,
    feature_weights,
    feature_weights_backward,
    has_no_base,
)
from karat.attention.kernels._parameters import OwnUnits, parameters_of
from karat.attention.kernels._vmap import one_by_one
from karat.attention.kernels.triton._generated import functions_of
from karat.attention.kernels.triton._launch import CannotCompileError, Launch

FAILED: dict[str, str] = {}
"""Each `Units.spec` whose code was not compiled, and why."""
_LOG = logging.getLogger(__name__)


@torch.library.custom_op("karat::triton_rows", mutates_args=())
def rows(
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
) -> Tensor:
    """`sum_m unit_rm(scale q kᵀ)`, shape (B, H, N, R), float32."""
    parameters = (coefficients, unit_scale, base_scale)
    if not q.numel() or not k.numel() or spec in FAILED:
        return rows_by_torch(q, k, parameters, scale, spec).mT.contiguous()
    try:
        with _on(q):
            return Packed(parameters, spec).launch(q, k, scale).rows()
    except (CannotCompileError, ValueError) as error:
        _give_up(spec, error)
        return rows_by_torch(q, k, parameters, scale, spec).mT.contiguous()


@torch.library.custom_op("karat::triton_rows_backward", mutates_args=())
def rows_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    coefficients: Sequence[Tensor],
    unit_scale: Tensor | None,
    base_scale: Tensor | None,
    scale: float,
    spec: str,
    need_q: bool,
    need_k: bool,
    need_parameters: bool,
) -> list[Tensor]:
    """Gradients of q, k and the parameters, given that of the rows; those not needed are empty.

    With W the weights of the features of a unit, and c the numbers it is made of, the gradient of
    the scores is `dx_nm = sum_r grad_nr (sum_f W_rfm feature_f'(x_nm) + unit'(x_nm; c_rm))`, so that
    `dq = scale dx k` and `dk = scale dxᵀ q`. That of the weights is
    `dW_rfm = sum_n grad_nr feature_f(x_nm)`, and that of c in the same way.

    Args:
        grad: gradient of the rows (B, H, N, R), float32, any strides.
        need_q, need_k, need_parameters: whether to compute each gradient.

    Returns:
        Gradients of the parameters last: scales of the units and of the base activation, where
        given, then each coefficient.
    """
    parameters = (coefficients, unit_scale, base_scale)
    if grad.numel() and k.numel() and spec not in FAILED:
        try:
            with _on(q):
                packed = Packed(parameters, spec)
                launch = packed.launch(q, k, scale)
                return [
                    launch.grad_side(grad, of_keys=False) if need_q else q.new_empty(0),
                    launch.grad_side(grad, of_keys=True) if need_k else k.new_empty(0),
                    *(packed.gradients(launch, grad) if need_parameters else packed.empty()),
                ]
        except (CannotCompileError, ValueError) as error:
            _give_up(spec, error)
    grad_q, grad_k, found, _ = rows_backward_by_torch(grad.mT, q, k, parameters, scale, spec)
    return [
        grad_q if need_q else q.new_empty(0),
        grad_k if need_k else k.new_empty(0),
        *(found if need_parameters else [each.new_empty(0) for each in found]),
    ]


class Packed:
    """The parameters of one call as the kernels take them."""

    def __init__(self, parameters: Parameters, spec: str) -> None:
        coefficients, unit_scale, base_scale = parameters
        self.parameters, self.spec, some = parameters, spec, coefficients[0]
        self.functions = functions_of(spec, unit_scale is not None)
        self.units = OwnUnits(parameters, spec) if self.functions.kept else None
        empty = some.new_empty((*some.shape[:2], 0, some.shape[2]))
        if self.units is None:
            self.weights, self.kept = feature_weights(*parameters, spec), empty
            return
        prepared = self.units.prepared_PRM().values()
        self.kept = torch.stack([each.to(some.dtype) for each in prepared], 2)
        self.weights = empty
        if not has_no_base(spec):
            base = torch.ones_like(self.kept[:, :, 0]) if base_scale is None else base_scale
            self.weights = base.unsqueeze(2)

    def launch(self, q: Tensor, k: Tensor, scale: float) -> Launch:
        return Launch(self.functions, q, k, self.weights, self.kept, scale)

    def gradients(self, launch: Launch, grad: Tensor) -> list[Tensor]:
        """Those of the parameters, as `rows_backward` returns them."""
        if self.units is None:
            found = feature_weights_backward(launch.grad_weights(grad), *self.parameters)
            # Copies, since results of a custom operation must not share memory.
            return [
                each.clone(memory_format=torch.contiguous_format)
                for each in found
                if each is not None
            ]
        of_base = None
        if self.units.base_scale is not None:
            of_base = launch.grad_weights(grad).squeeze(2)
        return self.units.gradients(launch.grad_parts(grad).unbind(2), of_base)

    def empty(self) -> list[Tensor]:
        coefficients, *scales = self.parameters
        given = [each for each in (*scales, *coefficients) if each is not None]
        return [each.new_empty(0) for each in given]


def packed(units: Units) -> Packed:
    """Those of `units`, in float32."""
    unit_scale, base_scale, *coefficients = parameters_of(units, torch.float32)
    return Packed((coefficients, unit_scale, base_scale), units.spec)


def _on(q: Tensor) -> Any:
    return torch.cuda.device(q.get_device()) if q.is_cuda else nullcontext()


def _give_up(spec: str, error: Exception) -> None:
    FAILED[spec] = next(iter(str(error).strip().splitlines()), type(error).__name__)
    _LOG.warning(
        "basis %s runs several times slower than it could, in torch operations: Triton did not "
        "compile it: %s", json.loads(spec)[0], str(error)[:500],
    )  # fmt: skip


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
    return coefficients[0].new_empty((*q.shape[:3], coefficients[0].shape[1]))


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
    need_q: bool,
    need_k: bool,
    need_parameters: bool,
) -> list[Tensor]:
    given = [each for each in (unit_scale, base_scale, *coefficients) if each is not None]
    return [
        q.new_empty(q.shape if need_q else 0),
        k.new_empty(k.shape if need_k else 0),
        *(each.new_empty(each.shape if need_parameters else 0) for each in given),
    ]


for _each in (rows, rows_backward):
    _each.register_vmap(one_by_one(_each))
