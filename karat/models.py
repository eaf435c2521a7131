"""Vision transformers of timm with their attention exchanged: the only file that knows timm's models."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from karat.attention import AttentionConfig, KArAtAttention, Operator
from karat.errors import CombinationError, SettingError, nearest
from karat.seeds import derive
from karat.settings import at_least

# timm's shapes for tiny, small and base; vit_micro is ours, for 8 x 8 pictures.
SIZES: Mapping[str, Mapping[str, int]] = {
    "vit_micro": {"patch_size": 2, "embed_dim": 48, "depth": 4, "num_heads": 3},
    "vit_tiny": {"patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small": {"patch_size": 16, "embed_dim": 384, "depth": 12, "num_heads": 6},
    "vit_base": {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
}
_TIMM_NAME = re.compile(r"(vit_(?:tiny|small|base))_patch(\d+)_(\d+)")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Size and shape of a vision transformer; what is None comes from the size.

    Args:
        name: a size (`vit_tiny`) or timm's full name (`vit_tiny_patch16_224`), of which only
            size and patch are used: the picture's size comes from the data.
        patch_size: pixels along an edge of a patch; divides the picture's size.
        embed_dim: width; a multiple of `num_heads`.
        depth: number of blocks.
        num_heads: heads per block.
    """

    name: str = "vit_micro"
    patch_size: int | None = None
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None

    def __post_init__(self) -> None:
        if self.name not in SIZES and not _TIMM_NAME.fullmatch(self.name):
            known = [*SIZES, *(f"{size}_patch16_224" for size in SIZES if size != "vit_micro")]
            raise SettingError("name", f"unknown. {nearest(self.name, known)}", self.name)
        for key in ("patch_size", "embed_dim", "depth", "num_heads"):
            at_least(key, getattr(self, key), 1)

    def shape(self) -> dict[str, int]:
        """patch_size, embed_dim, depth and num_heads, with the size's own where none was given.

        Raises:
            CombinationError: the heads do not divide the width.
        """
        timm_name = _TIMM_NAME.fullmatch(self.name)
        shape = dict(SIZES[timm_name.group(1) if timm_name else self.name])
        if timm_name:
            shape["patch_size"] = int(timm_name.group(2))
        shape.update({k: v for k in shape if (v := getattr(self, k)) is not None})
        if shape["embed_dim"] % shape["num_heads"]:
            raise CombinationError(
                ("model.num_heads", "model.embed_dim"),
                f"model.num_heads = {shape['num_heads']} does not divide "
                f"model.embed_dim = {shape['embed_dim']}",
            )
        return shape

    def num_tokens(self, image_size: int) -> int:
        """Patches and the class token.

        Raises:
            CombinationError: the patch does not divide the picture.
        """
        patch = self.shape()["patch_size"]
        if image_size % patch:
            raise CombinationError(
                ("model.patch_size", "data.image_size", "model.name"),
                f"model.patch_size = {patch} does not divide the picture size {image_size}",
            )
        return (image_size // patch) ** 2 + 1


def check_model(model: ModelConfig, attention: AttentionConfig, image_size: int) -> None:
    """Whether `build_model` would take these settings.

    Raises:
        CombinationError: settings that are right alone and wrong together.
    """
    tokens = model.num_tokens(image_size)
    if not attention.is_softmax:
        attention.check_tokens(tokens)
        attention.operators(model.shape()["num_heads"])


def build_model(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
    seed: int,
) -> nn.Module:
    """A vision transformer whose weights depend on the seed alone.

    For one seed, all attention operators get the same initial weights in every module that
    they share, since the operator's own weights are drawn from a generator of their own.

    Args:
        model: size and shape.
        attention: the operator.
        image_size: pixels along an edge of the (square) picture.
        channels: of the picture.
        classes: outputs of the head.
        seed: of the initial weights.

    Raises:
        CombinationError: see `check_model`.
    """
    from timm.models.vision_transformer import VisionTransformer  # takes seconds to import

    check_model(model, attention, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "model"))
        vit: nn.Module = VisionTransformer(
            img_size=image_size, in_chans=channels, num_classes=classes, **model.shape()
        )
    if not attention.is_softmax:
        generator = torch.Generator().manual_seed(derive(seed, "operator"))
        exchange_attention(vit, attention, model.num_tokens(image_size), generator)
    return vit


def exchange_attention(
    vit: Any,
    attention: AttentionConfig,
    num_tokens: int,
    generator: torch.Generator | None,
) -> None:
    """Put a KArAt operator into every block, in place."""
    operators = attention.operators(vit.blocks[0].attn.num_heads)
    shared = None
    for block in vit.blocks:
        operator = shared or Operator(attention, operators, num_tokens, generator)
        block.attn = KArAtAttention(block.attn, operator)
        if attention.block_sharing == "universal":
            shared = operator


def count_parameters(module: nn.Module) -> int:
    """Learnable parameters, shared ones counted once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
