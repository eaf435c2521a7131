"""Which timm models can take an operator, where in them, and the exchange."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from karat.attention import AttentionConfig, HeadParts, Operator, make_operator
from karat.errors import CombinationError, HostError
from karat.host_attention import (
    HostAttention,
    KArAtAttention,
    KArAtGatedAttention,
    KArAtWindowAttention,
)

SUPPORTED = "VisionTransformer (ViT, DeiT), ConVit and SwinTransformer of timm"


@dataclass(frozen=True, kw_only=True)
class Site:
    """One attention module of a host, in the model or only as a shape.

    Args:
        name: of the attention module in the host.
        num_tokens: N, queries and keys.
        num_heads: H.
        head_dim: D.
        grid: rows and columns of patches.
        prefix_tokens: tokens before the patches (class, distillation, registers).
        windows: how many times it is applied to one picture.
        is_masked: whether some pairs of tokens are masked (Swin's shifted windows).
        wrapper: what takes its place.
        block: the module that holds it as `attn`; None for a shape.
    """

    name: str
    num_tokens: int
    num_heads: int
    head_dim: int
    grid: tuple[int, int]
    prefix_tokens: int
    windows: int = 1
    is_masked: bool = False
    wrapper: type[HostAttention] = KArAtAttention
    block: Any = None

    @property
    def is_gated(self) -> bool:
        return self.wrapper is KArAtGatedAttention

    @property
    def is_converted(self) -> bool:
        return isinstance(self.block.attn, HostAttention)


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
    if converted := next((site.name for site in sites if site.is_converted), None):
        raise HostError(f"{converted} is KArAt already; convert a model once")
    if config.is_softmax:
        return model
    chosen = chosen_sites(sites, config)
    made = _make_operators(chosen, config, generator)
    for site, operator in zip(chosen, made, strict=True):
        attention = site.block.attn
        weight = attention.proj.weight
        operator.to(device=weight.device, dtype=weight.dtype)
        site.block.attn = site.wrapper(attention, operator)
    return model


def kernels_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the kernels that compute the model's operators in training, where it is now."""
    modules = [each for each in model.modules() if isinstance(each, HostAttention)]
    return tuple(sorted(set().union(*(each.kernels() for each in modules))))


def chosen_sites(sites: list[Site], config: AttentionConfig) -> list[Site]:
    """The sites that these settings exchange.

    Raises:
        CombinationError: the settings name blocks that are not there, or share an operator
            between blocks that differ.
    """
    numbered = [
        number for number, site in enumerate(sites) if config.gated_blocks or not site.is_gated
    ]
    if isinstance(config.blocks, str):
        if not numbered:
            raise CombinationError(
                ("attention.gated_blocks", "model.name"),
                "attention.gated_blocks = False: this model has only gated layers",
            )
        picked = [numbered[place] for place in config.chosen_blocks(len(numbered))]
    else:
        picked = list(config.chosen_blocks(len(sites)))
        if gated := sorted(set(picked) - set(numbered)):
            raise CombinationError(
                ("attention.blocks", "attention.gated_blocks"),
                f"attention.blocks: {gated[0]} is a gated layer; it needs gated_blocks: true",
            )
    chosen = [sites[number] for number in picked]
    checked = set()
    for index, site in enumerate(chosen):
        own = config.of_block(index, len(chosen))
        shape = (site.num_heads, site.num_tokens)
        if shape in checked and not config.per_block:
            continue
        checked.add(shape)
        for _, part in own.parts(site.num_heads):
            if part is not None:
                part.check_tokens(site.num_tokens)
    if config.block_sharing == "universal":
        _check_alike(chosen, config)
    return chosen


def _check_alike(sites: list[Site], config: AttentionConfig) -> None:
    first = sites[0]
    for site in sites[1:]:
        if site.num_tokens != first.num_tokens:
            raise CombinationError(
                ("attention.block_sharing", "model.name"),
                "attention.block_sharing = universal: one operator cannot serve "
                f"{first.num_tokens} tokens ({first.name}) and {site.num_tokens} ({site.name}); "
                "use blockwise",
            )
        by_head = config.head_sharing == "per_head" or config.heads != "all"
        if by_head and site.num_heads != first.num_heads:
            raise CombinationError(
                ("attention.block_sharing", "attention.head_sharing", "model.name"),
                f"attention.block_sharing = universal: {first.name} has {first.num_heads} heads "
                f"and {site.name} {site.num_heads}; use blockwise, or head_sharing: shared",
            )


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
        wrapper = KArAtGatedAttention if gated else KArAtAttention
        name, grid = f"blocks.{number}.attn", model.patch_embed.grid_size
        found.append(_site(name, block, grid, prefix, wrapper=wrapper))
    return found


def _swin_sites(model: Any) -> list[Site]:
    found = []
    for stage, layer in enumerate(model.layers):
        for number, block in enumerate(layer.blocks):
            sides = zip(block.input_resolution, block.attn.window_size, strict=True)
            windows = math.prod(math.ceil(side / window) for side, window in sides)
            name, grid = f"layers.{stage}.blocks.{number}.attn", block.attn.window_size
            wrapper = KArAtWindowAttention
            masked = block.attn_mask is not None
            more: dict[str, Any] = {"windows": windows, "is_masked": masked, "wrapper": wrapper}
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
