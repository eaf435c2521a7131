"""The attention modules of a host as shapes, and those of them that settings exchange."""

from dataclasses import dataclass
from typing import Any, Literal

from karat.attention.config import AttentionConfig
from karat.errors import CombinationError


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
        windows: how many times it is applied to one image.
        is_masked: whether some pairs of tokens are masked (Swin's shifted windows).
        kind: of attention: plain, gated (ConViT's positional layers) or in windows (Swin).
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
    kind: Literal["plain", "gated", "window"] = "plain"
    block: Any = None

    @property
    def is_gated(self) -> bool:
        return self.kind == "gated"


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
