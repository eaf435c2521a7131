"""Which timm models can take an operator, where in them, and the exchange."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from karat.attention.config import AttentionConfig
from karat.attention.heads import HeadParts, make_operator
from karat.attention.operator import Operator
from karat.errors import HostError
from karat.models.layers import Site, chosen_sites
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


def sites_of(model: nn.Module) -> list[Site]:
    """The attention modules of a host, first block first; converted ones among them.

    Raises:
        HostError: the model is not supported, with the reason.
    """
    from timm.models.convit import ConVit  # takes seconds to import
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.vision_transformer import VisionTransformer

    if isinstance(model, VisionTransformer):
        return _vit_sites(model)
    if isinstance(model, ConVit):
        return _convit_sites(model)
    if isinstance(model, SwinTransformer):
        return _swin_sites(model)
    raise HostError(f"{type(model).__name__} is not a supported host; supported: {SUPPORTED}")


def convert(
    model: nn.Module,
    config: AttentionConfig | Mapping[str, Any],
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Exchange the attention of a timm model, in place; everything else is kept bit for bit.

    Args:
        model: a ViT, DeiT, ConViT or Swin of timm, at its final input size.
        config: the operator's settings, or a flat mapping of them (`{"basis": "fourier",
            "grid_size": 3}`). `basis: softmax` changes nothing.
        generator: where the initial weights come from.

    Returns:
        The model given.

    Raises:
        InputError (a ValueError): a wrong setting, settings that do not fit the model, or a model
            that is not supported; nothing in the model has changed then.
    """
    if not isinstance(config, AttentionConfig):
        config = AttentionConfig.from_settings(config)
    sites = sites_of(model)
    if converted := next((site.name for site in sites if is_converted(site)), None):
        raise HostError(f"{converted} is KArAt already; convert a model once")
    if config.is_softmax:
        return model
    chosen = chosen_sites(sites, config)
    made = _make_operators(chosen, config, generator)
    for site, operator in zip(chosen, made, strict=True):
        attention = site.block.attn
        weight = attention.proj.weight
        operator.to(device=weight.device, dtype=weight.dtype)
        site.block.attn = WRAPPERS[site.kind](attention, operator)
    return model


def is_converted(site: Site) -> bool:
    """Whether an operator is in place already."""
    return isinstance(site.block.attn, HostAttention)


def kernels_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the kernels that compute the model's operators in training, where it is now."""
    modules = [each for each in model.modules() if isinstance(each, HostAttention)]
    return tuple(sorted(set().union(*(each.kernels() for each in modules))))


def _make_operators(
    sites: list[Site], config: AttentionConfig, generator: torch.Generator | None
) -> list[Operator | HeadParts]:
    made: list[Operator | HeadParts] = []
    with torch.device("cpu"):  # the generator's; also where the caller builds on another
        for index, site in enumerate(sites):
            if made and config.block_sharing == "universal":
                made.append(made[0])
                continue
            own = config.of_block(index, len(sites))
            made.append(make_operator(own, site.num_heads, site.num_tokens, generator))
    return made


def _vit_sites(model: Any) -> list[Site]:
    from timm.layers import Attention

    if not isinstance(model.patch_drop, nn.Identity):
        raise HostError("patch_drop_rate above 0 changes the number of tokens from step to step")
    for number, block in enumerate(model.blocks):
        attention = getattr(block, "attn", None)
        if not isinstance(attention, Attention | KArAtAttention):
            kind = type(block).__name__ if attention is None else type(attention).__name__
            raise HostError(f"blocks.{number}: {kind} is not timm's plain Attention")
    return [
        _site(f"blocks.{number}.attn", block, model.patch_embed.grid_size, model.num_prefix_tokens)
        for number, block in enumerate(model.blocks)
    ]


def _convit_sites(model: Any) -> list[Site]:
    found = []
    for number, block in enumerate(model.blocks):
        gated = number < model.local_up_to_layer
        prefix = 0 if gated else 1  # the class token comes in after the gated layers
        kind = "gated" if gated else "plain"
        name, grid = f"blocks.{number}.attn", model.patch_embed.grid_size
        found.append(_site(name, block, grid, prefix, kind=kind))
    return found


def _swin_sites(model: Any) -> list[Site]:
    found = []
    for stage, layer in enumerate(model.layers):
        for number, block in enumerate(layer.blocks):
            sides = zip(block.input_resolution, block.attn.window_size, strict=True)
            windows = math.prod(math.ceil(side / window) for side, window in sides)
            name, grid = f"layers.{stage}.blocks.{number}.attn", block.attn.window_size
            masked = block.attn_mask is not None
            more: dict[str, Any] = {"windows": windows, "is_masked": masked, "kind": "window"}
            found.append(_site(name, block, grid, 0, **more))
    return found


def _site(name: str, block: Any, grid: tuple[int, int], prefix: int, **more: Any) -> Site:
    heads = block.attn.num_heads
    return Site(
        name=name,
        num_tokens=grid[0] * grid[1] + prefix,
        num_heads=heads,
        head_dim=block.attn.proj.in_features // heads,
        grid=(grid[0], grid[1]),
        prefix_tokens=prefix,
        block=block,
        **more,
    )
