"""The parts of a wavelet family that are functions of autograd, with their own backward passes."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Mother(Protocol):
    """The part of a wavelet family that is needed here."""

    def psi(self, t: Any) -> Any:
        """The mother function."""

    def slope(self, t: Any) -> Any:
        """Its derivative, in operations that can be differentiated again."""


class Psi(torch.autograd.Function):
    """ψ with its derivative in closed form: only x~ is kept for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, family: Mother) -> Tensor:
        psi: Tensor = family.psi(t)
        return psi

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Mother], output: Tensor) -> None:
        t, ctx.family = inputs
        ctx.save_for_backward(t)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (t,) = ctx.saved_tensors
        return grad * ctx.family.slope(t), None


class AtLeast(torch.autograd.Function):
    """`max(s, least)`, whose gradient is passed on below `least` where a step along it raises s.

    The gradient of a clamp is 0 there, so that a width that once got below the bound would stay.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(s: Tensor, least: float) -> Tensor:
        return s.clamp(min=least)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        s, ctx.least = inputs
        ctx.save_for_backward(s)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (s,) = ctx.saved_tensors
        return torch.where((s >= ctx.least) | (grad < 0), grad, 0.0), None
