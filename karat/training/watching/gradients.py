"""The gradient of what belongs to one head alone, of every head of a model.

To a head belong its rows of the projections to queries, keys and values, its columns of the output projection, and the
parameters of its mechanism or operator, where no other head or block shares them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from karat.attention.heads import HeadParts
from karat.attention.operator import Operator
from karat.attention.part import MechanismPart, Part
from karat.models.layers import AttentionLayer

# A module's projections, and how many of queries, keys and values each gives.
_PROJECTIONS = {"qkv": 3, "qk": 2, "kv": 2, "q": 1, "v": 1, "q_proj": 1, "k_proj": 1, "v_proj": 1}


class Piece(NamedTuple):
    """A parameter of one block of which each of some heads has a slice.

    Args:
        block: number of the attention module.
        heads: those that it belongs to, in the order of the slices.
        parameter: the whole.
        dim: the dimension that is divided between the heads.
        folds: how often all heads follow each other along it: 3 in a common projection to queries, keys and values.
    """

    block: int
    heads: Sequence[int]
    parameter: nn.Parameter
    dim: int
    folds: int = 1

    def squares(self, gradient: Tensor) -> Tensor:
        """Sum of the squares of a gradient of the whole, by head: (heads,)."""
        first = gradient.movedim(self.dim, 0)
        split = first.reshape(self.folds, len(self.heads), -1)
        return split.square().sum((0, 2))


def pieces_of(layers: Sequence[AttentionLayer]) -> list[Piece]:
    """What is trained and belongs to one head alone."""
    found = [piece for layer in layers for piece in _of_layer(layer)]
    uses = Counter(id(piece.parameter) for piece in found)
    return [
        piece for piece in found if piece.parameter.requires_grad and uses[id(piece.parameter)] == 1
    ]


def norms(
    pieces: Sequence[Piece], gradients: Sequence[Tensor | None], layers: Sequence[AttentionLayer]
) -> list[Tensor]:
    """The norm of the gradient of what each head has, (H,) for every block; NaN for heads that have nothing.

    Args:
        pieces: of `pieces_of`.
        gradients: of their parameters, in the same order; None for one that the loss does not depend on.
        layers: as for `pieces_of`.
    """
    squares = [torch.zeros(layer.num_heads) for layer in layers]
    known = [torch.zeros(layer.num_heads, dtype=torch.bool) for layer in layers]
    for piece, gradient in zip(pieces, gradients, strict=True):
        heads = list(piece.heads)
        known[piece.block][heads] = True
        if gradient is not None:
            squares[piece.block][heads] += piece.squares(gradient).float().cpu()
    return [
        each.sqrt().where(is_known, torch.nan)
        for each, is_known in zip(squares, known, strict=True)
    ]


def _of_layer(layer: AttentionLayer) -> Iterator[Piece]:
    module, every = layer.block.attn, range(layer.num_heads)
    heads_width = layer.num_heads * layer.head_dim
    for name, folds in _PROJECTIONS.items():
        projection = getattr(module, name, None)
        if not isinstance(projection, nn.Linear | nn.Conv2d):
            continue
        by_head = getattr(module, "head_first", False)  # all of a head side by side (MaxViT)
        for parameter in projection.parameters():
            # With grouped queries, keys and values belong to several heads.
            if len(parameter) == folds * heads_width:
                yield Piece(layer.number, every, parameter, 0, 1 if by_head else folds)
    for name in ("q_bias", "v_bias"):
        if isinstance(bias := getattr(module, name, None), nn.Parameter):
            yield Piece(layer.number, every, bias, 0)
    yield Piece(layer.number, every, module.proj.weight, 1)
    if isinstance(operator := getattr(module, "operator", None), Part):
        for heads, parameter in _own(operator, every):
            yield Piece(layer.number, heads, parameter, 0)


def _own(part: Part, heads: Sequence[int]) -> Iterator[tuple[Sequence[int], nn.Parameter]]:
    """The parameters of a part whose first dimension is its heads."""
    if isinstance(part, HeadParts):
        for own, each in zip(part.heads, part.operators, strict=True):
            assert isinstance(each, Part)
            yield from _own(each, own)
    elif isinstance(part, Operator) and part.num_operators == len(heads):
        yield from ((heads, parameter) for parameter in part.parameters())
    elif isinstance(part, MechanismPart):
        # With one head more, what has a slice for each head has one more.
        count = part.place.num_heads
        more = part.mechanism.shapes(replace(part.place, num_heads=count + 1))
        for name, parameter in part.learned.items():
            if parameter.shape[:1] == (count,) and more[name][:1] == (count + 1,):
                yield heads, parameter
