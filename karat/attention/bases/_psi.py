"""A wavelet's mother function for autograd, with the family's own slope."""

from typing import Any, Protocol

import torch
from torch import Tensor


class Mother(Protocol):
    """What of a wavelet family is needed here."""

    def psi(self, t: Tensor) -> Tensor:
        """The mother function."""

    def slope(self, t: Tensor) -> Tensor:
        """Its derivative, in operations that can be differentiated again."""


class Psi(torch.autograd.Function):
    """ψ with the family's own slope: it keeps x~ for the backward pass, and no step on the way."""

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
