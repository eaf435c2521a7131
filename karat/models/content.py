"""A probe of trained models: what is left of them without queries and keys."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from karat.models.hosts import attention_layers
from karat.models.wrappers import HostAttention


@contextmanager
def without_content(model: nn.Module) -> Iterator[nn.Module]:
    """Within this context, queries and keys of all attention modules are held at zero.

    All scores are then the same, or Swin's position bias: what a model still reaches, it reaches
    by position alone. ConViT's gated layers keep the part that attends to positions. The model may
    have any mechanism, also the host's softmax; it is unchanged afterwards, also after an error.

        with torch.no_grad(), karat.without_content(model):
            accuracy = evaluate(model)

    Raises:
        HostError: the model is not a supported host.
    """
    modules = [layer.block.attn for layer in attention_layers(model)]
    with ExitStack() as stack:
        for module in modules:
            if isinstance(module, HostAttention):
                stack.enter_context(_switched_off(module))
            else:
                for each, hook in _hooks(module):
                    stack.callback(each.register_forward_hook(hook).remove)
        yield model


@contextmanager
def _switched_off(module: HostAttention) -> Iterator[None]:
    before, module.content = module.content, False
    try:
        yield
    finally:
        module.content = before


def _hooks(module: Any) -> list[tuple[nn.Module, Any]]:
    """The submodules of timm's attention whose outputs are queries and keys, with their hooks."""
    if hasattr(module, "q_norm"):  # after a norm, whose bias would be left
        return [(module.q_norm, _all_zero), (module.k_norm, _all_zero)]
    if hasattr(module, "qk"):
        return [(module.qk, _all_zero)]
    return [(module.qkv, _two_thirds_zero)]


def _all_zero(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return torch.zeros_like(output)


def _two_thirds_zero(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    width = output.shape[-1] // 3
    return torch.cat([torch.zeros_like(output[..., : 2 * width]), output[..., 2 * width :]], -1)
