"""Replaces attention modules of timm models by modules with the operator."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from karat.attention.carried import refuse_other_settings
from karat.attention.config import AttentionConfig
from karat.attention.heads import make_part
from karat.attention.part import Part
from karat.errors import HostError
from karat.models.hosts import attention_layers, is_converted
from karat.models.layers import AttentionLayer, chosen_layers
from karat.models.wrappers import (
    HostAttention,
    KArAtAttention,
    KArAtGatedAttention,
    KArAtWindowAttention,
)

WRAPPERS: Mapping[str, type[HostAttention]] = {
    "plain": KArAtAttention,
    "gated": KArAtGatedAttention,
    "window": KArAtWindowAttention,
}


def convert(
    model: nn.Module,
    config: AttentionConfig | Mapping[str, Any],
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Replace the attention of a timm model, in place; all other weights stay bit for bit.

    Args:
        model: a ViT, DeiT, ConViT or Swin of timm, at its final input size.
        config: the operator's settings, or a flat mapping of them (`{"basis": "fourier",
            "grid_size": 3}` or `{"mechanism": "sigmoid"}`). Softmax changes nothing.
        generator: random generator for the initial weights of the operators.

    Returns:
        The same model.

    Raises:
        InputError (a ValueError): a setting is wrong or does not fit the model, or the model is
            not supported; the model is unchanged then.
    """
    if not isinstance(config, AttentionConfig):
        config = AttentionConfig.from_settings(config)
    layers = attention_layers(model)
    if converted := next((layer.name for layer in layers if is_converted(layer)), None):
        raise HostError(f"{converted} is already converted; convert a model only once")
    if config.is_softmax:
        return model
    chosen = chosen_layers(layers, config)
    # All operators first: a wrong setting of a late block must not leave the model half converted.
    made = _make_operators(chosen, config, generator)
    model.register_load_state_dict_pre_hook(refuse_other_settings)  # type: ignore[no-untyped-call]
    for layer, operator in zip(chosen, made, strict=True):
        attention = layer.block.attn
        weight = attention.proj.weight
        operator.to(device=weight.device, dtype=weight.dtype)
        layer.block.attn = WRAPPERS[layer.kind](attention, operator)
    return model


def kernels_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the kernels that compute the model's operators in training, on its current device."""
    modules = [each for each in model.modules() if isinstance(each, HostAttention)]
    return tuple(sorted(set().union(*(each.kernels() for each in modules))))


def _make_operators(
    layers: list[AttentionLayer], config: AttentionConfig, generator: torch.Generator | None
) -> list[Part]:
    made: list[Part] = []
    # The generator is on the CPU; the caller may have set another default device.
    with torch.device("cpu"):
        for index, layer in enumerate(layers):
            if made and config.block_sharing == "universal":
                made.append(made[0])
                continue
            own = config.of_block(index, len(layers))
            made.append(make_part(own, layer.place, generator))
    return made
