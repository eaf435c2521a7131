"""A wavelet's mother function for autograd, with the family's own slope."""

from typing import Any

import torch
from torch import Tensor

from karat.bases._wavelet import Wavelet


class Psi(torch.autograd.Function):
    """ψ with the family's own slope: it keeps x~ for the backward pass, and no step on the way."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor, family: Wavelet) -> Tensor:
        return family.psi(t)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Wavelet], output: Tensor) -> None:
        t, ctx.family = inputs
        ctx.save_for_backward(t)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (t,) = ctx.saved_tensors
        return grad * ctx.family.slope(t), None
