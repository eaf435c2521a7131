"""What all layouts have in common: an attention module as a layer, and refusals."""

from typing import Any

from torch import nn

from karat.errors import HostError
from karat.models.layers import AttentionLayer


class ConvertedAttention(nn.Module):
    """Base class of attention modules with an operator; see `karat.models.wrappers`."""


def layer_of(
    name: str, block: Any, grid: tuple[int, int], *, prefix: int = 0, **more: Any
) -> AttentionLayer:
    """The attention module of a block.

    Args:
        name: of the module.
        block: has it as `attn`.
        grid: rows and columns of patches.
        prefix: number of tokens before the patches.
        more: further fields of `AttentionLayer`; `num_tokens` follows from the grid if it is not there.
    """
    attention = block.attn
    heads = getattr(attention, "num_heads", None) or attention.heads  # Hiera's name
    q_norm = getattr(attention, "q_norm", nn.Identity())
    fields = {
        "num_tokens": grid[0] * grid[1] + prefix,
        "has_norms": not isinstance(q_norm, nn.Identity),
        "channels_first": isinstance(_first_projection(attention), nn.Conv2d),
        **more,
    }
    return AttentionLayer(
        name=name,
        num_heads=heads,
        head_dim=_inputs(attention.proj) // heads,
        width=_inputs(_first_projection(attention)),
        grid=(grid[0], grid[1]),
        prefix_tokens=prefix,
        block=block,
        **fields,
    )


def expect(name: str, block: Any, *classes: Any) -> None:
    """Refuse a block whose attention is of another class, or computes it in another way.

    Args:
        name: of the block.
        block: a block of the model.
        classes: those of timm that the layout knows.

    Raises:
        HostError: with the reason.
    """
    attention: Any = getattr(block, "attn", None)
    if attention is None:
        kind = type(block).__name__
        what = _REASONS.get(kind, "has no attention module of its own")
        raise HostError(f"{name}: {kind} {what}")
    if isinstance(attention, ConvertedAttention):
        return
    for known in classes:
        if isinstance(attention, known) and type(attention).forward is known.forward:
            return
    kind = type(attention).__name__
    names = " or ".join(each.__name__ for each in classes)
    what = _REASONS.get(kind, f"is not timm's {names}, whose scores an operator can take")
    raise HostError(f"{name}: {kind} {what}")


def refuse_dropped_patches(patch_drop: Any) -> None:
    """Refuse a model that leaves out patches in training.

    Raises:
        HostError: with the reason.
    """
    if patch_drop is not None and not isinstance(patch_drop, nn.Identity):
        raise HostError("patch_drop_rate above 0 changes the number of tokens from step to step")


# What a block or an attention module of a host does that an operator cannot do.
_REASONS = {
    "DiffAttention": "subtracts two softmaxes of half the width: it has two matrices of scores for an operator that "
    "takes one",
    "ParallelScalingBlock": "computes attention and MLP in one product; the block has no attention module",
    "DiffParallelScalingBlock": "computes attention and MLP in one product, and subtracts two softmaxes",
    "ParallelPartitionAttention": "attends in windows and in a grid side by side in one module",
    "ParallelThingsBlock": "has several attention modules side by side, and sums them",
}


def _first_projection(attention: Any) -> Any:
    found = (getattr(attention, name, None) for name in ("qkv", "qk", "q", "q_proj"))
    return next(each for each in found if each is not None)


def _inputs(projection: Any) -> int:
    found: int = (
        projection.in_channels if isinstance(projection, nn.Conv2d) else projection.in_features
    )
    return found
