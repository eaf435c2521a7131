"""The attention modules of a host model as shapes, and which of them the settings convert."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from karat.attention.place import Place
from karat.errors import CombinationError

if TYPE_CHECKING:
    from karat.attention.config import AttentionConfig


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """One attention module of a host model, or only its shape.

    Args:
        name: name of the module in the host model.
        num_tokens: N, the number of queries.
        num_heads: H.
        head_dim: D.
        width: C, the width of the tokens that enter the module.
        grid: rows and columns of patches.
        prefix_tokens: tokens before the patches (class, distillation, registers).
        windows: number of times that the module is applied to one image.
        num_keys: M, the number of keys, where it is not N (PVT, Hiera's pooled queries); None for N.
        is_masked: whether some pairs of tokens are masked (Swin's shifted windows).
        is_gated: whether it is a gated positional layer of ConViT.
        has_bias: whether the model adds numbers to the scores.
        has_norms: whether the module normalises queries and keys.
        is_rotated: whether the module rotates queries and keys by their positions (RoPE).
        pools_queries: whether a query is made of several tokens (Hiera).
        off_grid: why tokens are not the patches of the grid by rows, as a phrase; empty where they are.
        channels_first: whether the block gives a map (B, C, rows, columns).
        number: number of the module in the model, from 0.
        block: the module whose attribute `attn` it is; None for a shape.
    """

    name: str
    num_tokens: int
    num_heads: int
    head_dim: int
    width: int
    grid: tuple[int, int]
    prefix_tokens: int
    windows: int = 1
    num_keys: int | None = None
    is_masked: bool = False
    is_gated: bool = False
    has_bias: bool = False
    has_norms: bool = False
    is_rotated: bool = False
    pools_queries: bool = False
    off_grid: str = ""
    channels_first: bool = False
    number: int = 0
    block: Any = None

    @property
    def keys(self) -> int:
        """M, the number of keys, which is that of tokens for an operator: it acts on rows of scores."""
        return self.num_tokens if self.num_keys is None else self.num_keys

    @property
    def pairs(self) -> int:
        """The number of scores of one head for one image."""
        return self.windows * self.num_tokens * self.keys

    @property
    def place(self) -> Place:
        """The module as mechanisms see it."""
        return Place(
            num_heads=self.num_heads,
            num_tokens=self.keys,
            num_queries=self.num_tokens,
            head_dim=self.head_dim,
            width=self.width,
            number=self.number,
            is_masked=self.is_masked,
            has_bias=self.has_bias,
            is_gated=self.is_gated,
            has_norms=self.has_norms,
            is_rotated=self.is_rotated,
            pools_queries=self.pools_queries,
        )


def chosen_layers(layers: list[AttentionLayer], config: AttentionConfig) -> list[AttentionLayer]:
    """The layers that these settings convert.

    Raises:
        CombinationError: the settings name blocks that do not exist, or share an operator
            between blocks of different shape.
    """
    numbered = [
        number for number, layer in enumerate(layers) if config.gated_blocks or not layer.is_gated
    ]
    if isinstance(config.blocks, str):
        if not numbered:
            raise CombinationError(
                ("attention.gated_blocks", "model.name"),
                "attention.gated_blocks = False: this model has only gated layers",
            )
        picked = [numbered[place] for place in config.chosen_blocks(len(numbered))]
    else:
        picked = list(config.chosen_blocks(len(layers)))
        if gated := sorted(set(picked) - set(numbered)):
            raise CombinationError(
                ("attention.blocks", "attention.gated_blocks"),
                f"attention.blocks: {gated[0]} is a gated layer; it needs gated_blocks: true",
            )
    chosen = [layers[number] for number in picked]
    # Layers of equal shape need one check, unless settings differ by block: a search space checks
    # thousands of configurations.
    checked = set()
    for index, layer in enumerate(chosen):
        own = config.of_block(index, len(chosen))
        shape = replace(layer.place, number=0)
        if shape in checked and not config.per_block:
            continue
        checked.add(shape)
        for heads, part in own.parts(layer.num_heads):
            if part is not None:
                part.make_mechanism().check(replace(layer.place, num_heads=len(heads)))
    if config.block_sharing == "universal":
        _check_same_shape(chosen, config)
    return chosen


def _check_same_shape(layers: list[AttentionLayer], config: AttentionConfig) -> None:
    first = layers[0]
    for layer in layers[1:]:
        if layer.keys != first.keys:
            raise CombinationError(
                ("attention.block_sharing", "model.name"),
                "attention.block_sharing = universal: one operator cannot serve "
                f"{first.keys} tokens ({first.name}) and {layer.keys} ({layer.name}); "
                "use blockwise",
            )
        by_head = config.head_sharing == "per_head" or config.heads != "all"
        if by_head and layer.num_heads != first.num_heads:
            raise CombinationError(
                ("attention.block_sharing", "attention.head_sharing", "model.name"),
                f"attention.block_sharing = universal: {first.name} has {first.num_heads} heads "
                f"and {layer.name} {layer.num_heads}; use blockwise, or head_sharing: shared",
            )
