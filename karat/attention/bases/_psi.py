"""The mother function of a wavelet for autograd, with a backward pass in closed form."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Mother(Protocol):
    """The part of a wavelet family that is needed here."""

    def psi(self, t: Tensor) -> Tensor:
        """The mother function."""

    def slope(self, t: Tensor) -> Tensor:
        """Its derivative, in operations that can be differentiated again."""


class Psi(torch.autograd.Function):
    """ψ with its derivative in closed form: only x~ is kept for the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, family: Mother) -> Tensor:
        return family.psi(t)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Mother], output: Tensor) -> None:
        t, ctx.family = inputs
        ctx.save_for_backward(t)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (t,) = ctx.saved_tensors
        return grad * ctx.family.slope(t), None
