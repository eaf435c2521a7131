"""The shapes of a model's attention modules, for a plain ViT without torch, and their check."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from karat.models.config import ModelConfig
from karat.models.layers import AttentionLayer, chosen_layers

if TYPE_CHECKING:
    from karat.attention.config import AttentionConfig


def check_model(model: ModelConfig, attention: AttentionConfig, image_size: int) -> None:
    """Check that `build_model` accepts these settings.

    Raises:
        CombinationError: the settings are not compatible.
        HostError: the model cannot be converted.
    """
    layers = layer_shapes(model, image_size)
    if not attention.is_softmax:
        chosen_layers(layers, attention)


def layer_shapes(model: ModelConfig, image_size: int) -> list[AttentionLayer]:
    """The attention modules of the model, as shapes.

    Raises:
        CombinationError: the model cannot have this shape.
        HostError: the model cannot be converted.
    """
    if not model.is_plain:
        return list(_layers_of_host(model, image_size))
    shape, side = model.shape(), model.grid(image_size)
    return [
        AttentionLayer(
            name=f"blocks.{number}.attn",
            num_tokens=side**2 + 1 + model.registers,
            num_heads=shape["num_heads"],
            head_dim=shape["embed_dim"] // shape["num_heads"],
            width=shape["embed_dim"],
            number=number,
            grid=(side, side),
            prefix_tokens=1 + model.registers,
        )
        for number in range(shape["depth"])
    ]


# The arms of a space have few hosts, and a plan asks for each often.
@functools.lru_cache(maxsize=64)
def _layers_of_host(model: ModelConfig, image_size: int) -> tuple[AttentionLayer, ...]:
    from karat.models.hosts import attention_layers, build_host  # imports torch and timm

    return tuple(attention_layers(build_host(model, image_size, device="meta")))
