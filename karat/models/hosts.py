"""The host models: timm's models that can be converted, and their attention modules."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from karat.errors import CombinationError, HostError
from karat.models.config import ModelConfig
from karat.models.layers import AttentionLayer

TIMM_POS_STD = 0.02  # of a ViT's position embedding, before training
SUPPORTED = "VisionTransformer (ViT, DeiT), ConVit and SwinTransformer of timm"


class ConvertedAttention(nn.Module):
    """Base class of attention modules with an operator; see `karat.models.wrappers`."""


def build_host(
    model: ModelConfig,
    image_size: int,
    *,
    channels: int = 3,
    classes: int = 10,
    device: str = "cpu",
    drop_path: float | None = None,
) -> nn.Module:
    """The host model with its original attention, and with this rate of stochastic depth in the last block.

    Raises:
        CombinationError: the host model cannot have this shape or image size.
    """
    arguments: dict[str, Any] = {
        "img_size": image_size,
        "in_chans": channels,
        "num_classes": classes,
    }
    if drop_path is not None:  # without it Swin has a rate of 0.1, all others 0
        arguments["drop_path_rate"] = drop_path
    host: nn.Module
    if model.is_plain:
        from timm.models.vision_transformer import VisionTransformer  # takes seconds to import

        model.grid(image_size)
        arguments |= model.shape() | {"weight_init": model.weight_init or ""}
        with torch.device(device):
            if not model.registers:
                host = VisionTransformer(**arguments)
            else:
                from karat.models.registers import RegisterTransformer  # imports timm

                host = RegisterTransformer(model.registers, **arguments)
        if model.pos_embed_std is not None:
            with torch.no_grad():
                host.get_parameter("pos_embed").mul_(model.pos_embed_std / TIMM_POS_STD)
        return host
    import timm

    try:
        with torch.device(device):
            host = timm.create_model(model.name, pretrained=False, **arguments, **model.given())
            return host
    # timm's models check their arguments with assertions, or fail while they compute shapes.
    except (AssertionError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CombinationError(
            ("model.name", "data.image_size"),
            f"model.name = {model.name} cannot be built for images of {image_size} pixels"
            f"{''.join(f', {key} = {value}' for key, value in model.given().items())}: {error}",
        ) from error


def attention_layers(model: nn.Module) -> list[AttentionLayer]:
    """The attention modules of a host model in the order of blocks, converted or not.

    Raises:
        HostError: the model is not supported, with the reason.
    """
    from timm.models.convit import ConVit  # takes seconds to import
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.vision_transformer import VisionTransformer

    if isinstance(model, VisionTransformer):
        found = _vit_layers(model)
    elif isinstance(model, ConVit):
        found = _convit_layers(model)
    elif isinstance(model, SwinTransformer):
        found = _swin_layers(model)
    else:
        raise HostError(f"{type(model).__name__} is not a supported host; supported: {SUPPORTED}")
    return [replace(layer, number=number) for number, layer in enumerate(found)]


def is_converted(layer: AttentionLayer) -> bool:
    """Whether the layer has an operator instead of softmax."""
    return isinstance(layer.block.attn, ConvertedAttention)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, with frozen ones; shared parameters count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _vit_layers(model: Any) -> list[AttentionLayer]:
    from timm.layers import Attention

    if not isinstance(model.patch_drop, nn.Identity):
        raise HostError("patch_drop_rate above 0 changes the number of tokens from step to step")
    for number, block in enumerate(model.blocks):
        attention = getattr(block, "attn", None)
        if not isinstance(attention, Attention | ConvertedAttention):
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
        width=(block.attn.qk if more.get("kind") == "gated" else block.attn.qkv).in_features,
        grid=(grid[0], grid[1]),
        prefix_tokens=prefix,
        has_norms=not isinstance(getattr(block.attn, "q_norm", nn.Identity()), nn.Identity),
        block=block,
        **more,
    )
