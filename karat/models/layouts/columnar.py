"""Models whose blocks all see the same tokens: ViT and its kin, ConViT, Eva, BEiT, relative positions, SAM, NaFlex."""

import math
from typing import Any

from karat.models.layers import AttentionLayer
from karat.models.layouts.common import expect, layer_of, refuse_dropped_patches
from karat.models.layouts.image_size import image_size_of


def of_vit(model: Any) -> list[AttentionLayer]:
    """timm's `VisionTransformer`: ViT, DeiT, ResNet hybrids, ViTamin."""
    from timm.layers import Attention

    refuse_dropped_patches(model.patch_drop)
    _expect(model, Attention)
    return _same(model, model.patch_embed.grid_size, prefix=model.num_prefix_tokens)


def of_convit(model: Any) -> list[AttentionLayer]:
    """`ConVit`, which adds the class token after its gated layers."""
    found = []
    for number, block in enumerate(model.blocks):
        gated = number < model.local_up_to_layer
        prefix = 0 if gated else 1
        name, grid = f"blocks.{number}.attn", model.patch_embed.grid_size
        found.append(layer_of(name, block, grid, prefix=prefix, is_gated=gated))
    return found


def of_eva(model: Any) -> list[AttentionLayer]:
    """`Eva`: EVA and EVA-02, DINOv3, Perception Encoder, ViTs with rotations."""
    from timm.layers import AttentionRope
    from timm.models.eva import EvaAttention

    refuse_dropped_patches(model.patch_drop)
    _expect(model, EvaAttention, AttentionRope)
    grid, prefix = model.patch_embed.grid_size, model.num_prefix_tokens
    return _same(model, grid, prefix=prefix, is_rotated=model.rope is not None)


def of_naflex(model: Any) -> list[AttentionLayer]:
    """`NaFlexVit`, for square images of one size; it takes others as sequences of patches."""
    from timm.layers import Attention, AttentionRope
    from timm.models.eva import EvaAttention

    refuse_dropped_patches(model.patch_drop)
    _expect(model, Attention, EvaAttention, AttentionRope)
    grid = model.embeds.dynamic_feat_size(image_size_of(model))
    prefix, rotated = model.num_prefix_tokens, model.rope is not None
    return _same(model, grid, prefix=prefix, is_rotated=rotated)


def of_beit(model: Any) -> list[AttentionLayer]:
    """`Beit`: BEiT and BEiT v2."""
    from timm.models.beit import Attention

    _expect(model, Attention)
    shared = model.rel_pos_bias is not None
    own = [block.attn.relative_position_bias_table is not None for block in model.blocks]
    grid = model.patch_embed.grid_size
    return [
        layer_of(f"blocks.{number}.attn", block, grid, prefix=1, has_bias=shared or has_own)
        for number, (block, has_own) in enumerate(zip(model.blocks, own, strict=True))
    ]


def of_relpos(model: Any) -> list[AttentionLayer]:
    """`VisionTransformerRelPos`."""
    from timm.models.vision_transformer_relpos import RelPosAttention

    _expect(model, RelPosAttention)
    grid, prefix = model.patch_embed.grid_size, model.num_prefix_tokens
    return _same(model, grid, prefix=prefix, has_bias=True)


def of_sam(model: Any) -> list[AttentionLayer]:
    """`VisionTransformerSAM`: blocks with windows, which pad the map at its borders, and global ones."""
    from timm.models.vision_transformer_sam import Attention

    refuse_dropped_patches(model.patch_drop)
    _expect(model, Attention)
    found = []
    for number, block in enumerate(model.blocks):
        grid, windows = model.patch_embed.grid_size, 1
        if size := block.window_size:
            windows = math.prod(math.ceil(side / size) for side in grid)
            grid = size, size
        more = {"has_bias": block.attn.use_rel_pos, "is_rotated": block.attn.rope is not None}
        found.append(layer_of(f"blocks.{number}.attn", block, grid, windows=windows, **more))
    return found


def _expect(model: Any, *classes: Any) -> None:
    for number, block in enumerate(model.blocks):
        expect(f"blocks.{number}", block, *classes)


def _same(model: Any, grid: tuple[int, int], **more: Any) -> list[AttentionLayer]:
    return [
        layer_of(f"blocks.{number}.attn", block, grid, **more)
        for number, block in enumerate(model.blocks)
    ]
