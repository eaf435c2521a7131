"""Replaces attention modules of timm models by modules with the operator."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from karat.attention.config import AttentionConfig
from karat.attention.heads import HeadParts, make_operator
from karat.attention.operator import Operator
from karat.errors import HostError
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
SUPPORTED = "VisionTransformer (ViT, DeiT), ConVit and SwinTransformer of timm"


def attention_layers(model: nn.Module) -> list[AttentionLayer]:
    """The attention modules of a host model in the order of blocks, converted or not.

    Raises:
        HostError: the model is not supported, with the reason.
    """
    from timm.models.convit import ConVit  # takes seconds to import
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.vision_transformer import VisionTransformer

    if isinstance(model, VisionTransformer):
        return _vit_layers(model)
    if isinstance(model, ConVit):
        return _convit_layers(model)
    if isinstance(model, SwinTransformer):
        return _swin_layers(model)
    raise HostError(f"{type(model).__name__} is not a supported host; supported: {SUPPORTED}")


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
            "grid_size": 3}`). `basis: softmax` changes nothing.
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
    for layer, operator in zip(chosen, made, strict=True):
        attention = layer.block.attn
        weight = attention.proj.weight
        operator.to(device=weight.device, dtype=weight.dtype)
        layer.block.attn = WRAPPERS[layer.kind](attention, operator)
    return model


def is_converted(layer: AttentionLayer) -> bool:
    """Whether the layer has an operator instead of softmax."""
    return isinstance(layer.block.attn, HostAttention)


def kernels_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the kernels that compute the model's operators in training, on its current device."""
    modules = [each for each in model.modules() if isinstance(each, HostAttention)]
    return tuple(sorted(set().union(*(each.kernels() for each in modules))))


def _make_operators(
    layers: list[AttentionLayer], config: AttentionConfig, generator: torch.Generator | None
) -> list[Operator | HeadParts]:
    made: list[Operator | HeadParts] = []
    # The generator is on the CPU; the caller may have set another default device.
    with torch.device("cpu"):
        for index, layer in enumerate(layers):
            if made and config.block_sharing == "universal":
                made.append(made[0])
                continue
            own = config.of_block(index, len(layers))
            made.append(make_operator(own, layer.num_heads, layer.num_tokens, generator))
    return made


def _vit_layers(model: Any) -> list[AttentionLayer]:
    from timm.layers import Attention

    if not isinstance(model.patch_drop, nn.Identity):
        raise HostError("patch_drop_rate above 0 changes the number of tokens from step to step")
    for number, block in enumerate(model.blocks):
        attention = getattr(block, "attn", None)
        if not isinstance(attention, Attention | KArAtAttention):
            kind = type(block).__name__ if attention is None else type(attention).__name__
            raise HostError(f"blocks.{number}: {kind} is not timm's plain Attention")
    return [
        _layer(f"blocks.{number}.attn", block, model.patch_embed.grid_size, model.num_prefix_tokens)
        for number, block in enumerate(model.blocks)
    ]


def _convit_layers(model: Any) -> list[AttentionLayer]:
    found = []
    for number, block in enumerate(model.blocks):
        gated = number < model.local_up_to_layer
        prefix = 0 if gated else 1  # ConViT adds the class token after its gated layers
        kind = "gated" if gated else "plain"
        name, grid = f"blocks.{number}.attn", model.patch_embed.grid_size
        found.append(_layer(name, block, grid, prefix, kind=kind))
    return found


def _swin_layers(model: Any) -> list[AttentionLayer]:
    found = []
    for stage, swin_layer in enumerate(model.layers):
        for number, block in enumerate(swin_layer.blocks):
            sides = zip(block.input_resolution, block.attn.window_size, strict=True)
            windows = math.prod(math.ceil(side / window) for side, window in sides)
            name, grid = f"layers.{stage}.blocks.{number}.attn", block.attn.window_size
            masked = block.attn_mask is not None
            more: dict[str, Any] = {"windows": windows, "is_masked": masked, "kind": "window"}
            found.append(_layer(name, block, grid, 0, **more))
    return found


def _layer(
    name: str, block: Any, grid: tuple[int, int], prefix: int, **more: Any
) -> AttentionLayer:
    heads = block.attn.num_heads
    return AttentionLayer(
        name=name,
        num_tokens=grid[0] * grid[1] + prefix,
        num_heads=heads,
        head_dim=block.attn.proj.in_features // heads,
        grid=(grid[0], grid[1]),
        prefix_tokens=prefix,
        block=block,
        **more,
    )
