"""The host models: timm's models that can be converted, and their attention modules."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from karat.errors import CombinationError, HostError
from karat.models.config import ModelConfig
from karat.models.layers import AttentionLayer
from karat.models.layouts import columnar, hierarchical
from karat.models.layouts.common import ConvertedAttention
from karat.models.layouts.image_size import note_image_size
from karat.models.timm_modules import ANY_IMAGE_SIZE, module_of, why_no_host

TIMM_POS_STD = 0.02  # of a ViT's position embedding, before training
Layout = Callable[[Any], list[AttentionLayer]]

# timm's class of models, and what finds its attention modules in the order of blocks.
LAYOUTS: Mapping[str, Layout] = {
    "timm.models.vision_transformer.VisionTransformer": columnar.of_vit,
    "timm.models.convit.ConVit": columnar.of_convit,
    "timm.models.eva.Eva": columnar.of_eva,
    "timm.models.beit.Beit": columnar.of_beit,
    "timm.models.vision_transformer_relpos.VisionTransformerRelPos": columnar.of_relpos,
    "timm.models.vision_transformer_sam.VisionTransformerSAM": columnar.of_sam,
    "timm.models.naflexvit.NaFlexVit": columnar.of_naflex,
    "timm.models.swin_transformer.SwinTransformer": hierarchical.of_swin,
    "timm.models.swin_transformer_v2.SwinTransformerV2": hierarchical.of_swin,
    "timm.models.maxxvit.MaxxVit": hierarchical.of_maxvit,
    "timm.models.pvt_v2.PyramidVisionTransformerV2": hierarchical.of_pvt,
    "timm.models.hiera.Hiera": hierarchical.of_hiera,
}


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
    if drop_path is not None:  # without it Swin and Swin v2 have a rate of 0.1, all others 0
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

    if module_of(model.name) in ANY_IMAGE_SIZE:
        del arguments["img_size"]
    try:
        with torch.device(device):
            host = timm.create_model(model.name, pretrained=False, **arguments, **model.given())
        note_image_size(host, image_size)
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
    layout = _layout_of(model)
    if layout is None:
        raise HostError(f"{type(model).__name__} {why_no_host(type(model))}")
    found = [replace(layer, number=number) for number, layer in enumerate(layout(model))]
    if none := next((layer for layer in found if min(layer.num_tokens, layer.keys) < 1), None):
        raise HostError(f"{none.name} has no tokens left: the images are too small for this model")
    return found


def is_converted(layer: AttentionLayer) -> bool:
    """Whether the layer has an operator instead of softmax."""
    return isinstance(layer.block.attn, ConvertedAttention)


def has_class_token(model: Any) -> bool:
    """Whether the first of the model's tokens before the patches is a class token, and no register."""
    known = getattr(model, "has_class_token", None)
    return getattr(model, "cls_token", None) is not None if known is None else bool(known)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, with frozen ones; shared parameters count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _layout_of(model: Any) -> Layout | None:
    """The layout of a model, or of the model that its class is derived from; None for others."""
    for each in type(model).__mro__:
        if found := LAYOUTS.get(f"{each.__module__}.{each.__qualname__}"):
            return found
    return None
