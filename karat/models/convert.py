"""Replaces attention modules of timm models by modules with the operator."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from karat.attention.config import AttentionConfig
from karat.attention.heads import make_part
from karat.attention.part import Part
from karat.errors import HostError
from karat.models.hosts import attention_layers, is_converted
from karat.models.layers import AttentionLayer, chosen_layers
from karat.models.layouts.image_size import note_image_size
from karat.models.loading.hooks import before_loading
from karat.models.wrappers.base import HostAttention
from karat.models.wrappers.gated import KArAtGatedAttention
from karat.models.wrappers.hierarchical import (
    KArAtMapAttention,
    KArAtMaskUnitAttention,
    KArAtPartitionAttention,
    KArAtReducedAttention,
)
from karat.models.wrappers.plain import KArAtAttention
from karat.models.wrappers.relative import (
    KArAtBeitAttention,
    KArAtRelPosAttention,
    KArAtSamAttention,
)
from karat.models.wrappers.rotary import KArAtRotaryAttention
from karat.models.wrappers.window import KArAtCosineWindowAttention, KArAtWindowAttention

WRAPPERS: Mapping[str, type[HostAttention]] = {
    "timm.layers.attention.Attention": KArAtAttention,
    "timm.layers.attention.AttentionRope": KArAtRotaryAttention,
    "timm.models.beit.Attention": KArAtBeitAttention,
    "timm.models.convit.GPSA": KArAtGatedAttention,
    "timm.models.convit.MHSA": KArAtAttention,
    "timm.models.eva.EvaAttention": KArAtRotaryAttention,
    "timm.models.hiera.MaskUnitAttention": KArAtMaskUnitAttention,
    "timm.models.maxxvit.Attention2d": KArAtMapAttention,
    "timm.models.maxxvit.AttentionCl": KArAtPartitionAttention,
    "timm.models.pvt_v2.Attention": KArAtReducedAttention,
    "timm.models.swin_transformer.WindowAttention": KArAtWindowAttention,
    "timm.models.swin_transformer_v2.WindowAttention": KArAtCosineWindowAttention,
    "timm.models.vision_transformer_relpos.RelPosAttention": KArAtRelPosAttention,
    "timm.models.vision_transformer_sam.Attention": KArAtSamAttention,
}


def convert(
    model: nn.Module,
    config: AttentionConfig | Mapping[str, Any],
    *,
    generator: torch.Generator | None = None,
    image_size: int | None = None,
) -> nn.Module:
    """Replace the attention of a timm model, in place; all other weights stay bit for bit.

    Args:
        model: a supported host of timm (docs/hosts.md), at its final input size.
        config: the operator's settings, or a flat mapping of them (`{"basis": "fourier",
            "grid_size": 3}` or `{"mechanism": "sigmoid"}`). Softmax changes nothing.
        generator: random generator for the initial weights of the operators.
        image_size: pixels along an edge, for hosts that take images of any size (PVT, NaFlex); None for the
            size that timm publishes the model for.

    Returns:
        The same model.

    Raises:
        InputError (a ValueError): a setting is wrong or does not fit the model, or the model is
            not supported; the model is unchanged then.
    """
    if not isinstance(config, AttentionConfig):
        config = AttentionConfig.from_settings(config)
    if image_size is not None:
        note_image_size(model, image_size)
    layers = attention_layers(model)
    if converted := next((layer.name for layer in layers if is_converted(layer)), None):
        raise HostError(f"{converted} is already converted; convert a model only once")
    if config.is_softmax:
        return model
    chosen = chosen_layers(layers, config)
    # All operators first: a wrong setting of a late block must not leave the model half converted.
    made = _make_operators(chosen, config, generator)
    model.register_load_state_dict_pre_hook(before_loading)  # type: ignore[no-untyped-call]
    for layer, operator in zip(chosen, made, strict=True):
        attention = layer.block.attn
        weight = attention.proj.weight
        operator.to(device=weight.device, dtype=weight.dtype)
        layer.block.attn = wrapped(layer, operator)
    return model


def wrapped(layer: AttentionLayer, operator: Part) -> HostAttention:
    """The attention module of a layer with an operator; the layer's own module is unchanged.

    Args:
        layer: with timm's module.
        operator: what attends.
    """
    attention: Any = layer.block.attn
    kind = next(
        name
        for each in type(attention).__mro__
        if (name := f"{each.__module__}.{each.__qualname__}") in WRAPPERS
    )
    return WRAPPERS[kind](attention, operator, has_bias=layer.has_bias)


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
