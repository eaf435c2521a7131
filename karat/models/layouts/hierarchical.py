"""Models whose number of tokens changes from stage to stage: Swin, Swin v2, MaxViT and CoAtNet, PVT v2, Hiera."""

import math
from collections.abc import Iterator
from typing import Any

from karat.errors import HostError
from karat.models.layers import AttentionLayer
from karat.models.layouts.common import expect, layer_of
from karat.models.layouts.image_size import image_size_of

UNROLLED = "Hiera orders tokens by mask units, not by rows of the image"
REDUCED = "keys are those of a smaller map than queries"


def of_swin(model: Any) -> list[AttentionLayer]:
    """`SwinTransformer` and `SwinTransformerV2`: windows, every second time shifted."""
    from timm.models.swin_transformer import WindowAttention
    from timm.models.swin_transformer_v2 import WindowAttention as CosineAttention

    found = []
    for stage, swin_layer in enumerate(model.layers):
        for number, block in enumerate(swin_layer.blocks):
            name, attention = f"layers.{stage}.blocks.{number}", block.attn
            expect(name, block, WindowAttention, CosineAttention)
            sides = zip(block.input_resolution, attention.window_size, strict=True)
            windows = math.prod(math.ceil(side / window) for side, window in sides)
            more = {
                "windows": windows,
                "is_masked": block.attn_mask is not None,
                "has_bias": True,
                "has_norms": hasattr(attention, "logit_scale"),  # cosines, Swin v2
            }
            found.append(layer_of(f"{name}.attn", block, attention.window_size, **more))
    return found


def of_maxvit(model: Any) -> list[AttentionLayer]:
    """`MaxxVit`: MaxViT's windows and grids, CoAtNet's whole maps; blocks of convolutions have no attention."""
    stride = model.stem.stride
    sides = [side // stride for side in model.img_size]
    found: list[AttentionLayer] = []
    for stage, blocks in enumerate(model.stages):
        sides = [(side - 1) // 2 + 1 for side in sides]
        for number, block in enumerate(blocks.blocks):
            name = f"stages.{stage}.blocks.{number}"
            found.extend(_of_maxvit_block(name, block, (sides[0], sides[1])))
    if not found:
        raise HostError("all blocks of this model are convolutions; there is no attention")
    return found


def _of_maxvit_block(name: str, block: Any, size: tuple[int, int]) -> Iterator[AttentionLayer]:
    from timm.models.maxxvit import Attention2d, AttentionCl

    parts = {name: block} if hasattr(block, "attn") else {}
    for key in ("attn_block", "attn_grid"):
        if (part := getattr(block, key, None)) is not None:
            parts[f"{name}.{key}"] = part
    for path, part in parts.items():
        expect(path, part, Attention2d, AttentionCl)
        grid = getattr(part, "partition_size", size)
        windows = (size[0] // grid[0]) * (size[1] // grid[1])
        has_bias = part.attn.rel_pos is not None
        yield layer_of(f"{path}.attn", part, grid, windows=windows, has_bias=has_bias)


def of_pvt(model: Any) -> list[AttentionLayer]:
    """`PyramidVisionTransformerV2`: the keys are those of a map that is smaller than that of the queries."""
    from timm.models.pvt_v2 import Attention

    sides = [_after(side, model.patch_embed.proj) for side in image_size_of(model)]
    found = []
    for stage, blocks in enumerate(model.stages):
        if blocks.downsample is not None:
            sides = [_after(side, blocks.downsample.proj) for side in sides]
        for number, block in enumerate(blocks.blocks):
            name = f"stages.{stage}.blocks.{number}"
            expect(name, block, Attention)
            keys = _keys(block.attn, sides)
            more: dict[str, Any] = {}
            if keys != math.prod(sides):
                more = {"num_keys": keys, "off_grid": REDUCED}
            found.append(layer_of(f"{name}.attn", block, (sides[0], sides[1]), **more))
    return found


def _keys(attention: Any, sides: list[int]) -> int:
    if attention.pool is not None:
        size: int = attention.pool.output_size
        return size**2
    if attention.sr is None:
        return math.prod(sides)
    return math.prod(_after(side, attention.sr) for side in sides)


def _after(side: int, convolution: Any) -> int:
    """The side of a map after a convolution."""
    kernel, stride, padding = (
        getattr(convolution, key)[0] for key in ("kernel_size", "stride", "padding")
    )
    found: int = (side + 2 * padding - kernel) // stride + 1
    return found


def of_hiera(model: Any) -> list[AttentionLayer]:
    """`Hiera`: mask units in the first stages, then all tokens; the first block of a stage pools queries."""
    from timm.models.hiera import MaskUnitAttention

    tokens = math.prod(model.tokens_spatial_shape)
    found = []
    for number, block in enumerate(model.blocks):
        expect(f"blocks.{number}", block, MaskUnitAttention)
        attention = block.attn
        windows = 1
        if attention.use_mask_unit_attn:
            windows = tokens // (attention.q_stride * attention.window_size)
        keys = tokens // windows
        tokens //= attention.q_stride
        queries = tokens // windows
        grid = _nearly_square(queries)
        pools = queries != keys
        more: dict[str, Any] = {"num_keys": keys, "pools_queries": True} if pools else {}
        more |= {"windows": windows, "off_grid": UNROLLED, "num_tokens": queries}
        found.append(layer_of(f"blocks.{number}.attn", block, grid, **more))
    return found


def _nearly_square(tokens: int) -> tuple[int, int]:
    rows = math.isqrt(tokens)
    while tokens % rows:
        rows -= 1
    return rows, tokens // rows
