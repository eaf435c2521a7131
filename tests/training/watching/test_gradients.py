"""The gradient of what belongs to a head alone."""

from typing import Any

import pytest
import torch
from torch import nn

import karat
from karat.models.hosts import attention_layers
from karat.training.watching.gradients import norms, pieces_of
from tests.attention.mechanisms.test_contract import settings
from tests.models.test_models import images, vit

OWN = {"basis": "fourier", "grid_size": 2, "rank": 4}


def _named(model: nn.Module) -> dict[str, int]:
    """The block of each parameter of which heads have slices, by its name."""
    names = {id(value): name for name, value in model.named_parameters()}
    return {names[id(piece.parameter)]: piece.block for piece in pieces_of(attention_layers(model))}


def _gradients(model: nn.Module) -> list[torch.Tensor | None]:
    pieces = pieces_of(attention_layers(model))
    loss = model(images()).square().sum()
    parameters = [piece.parameter for piece in pieces]
    return list(torch.autograd.grad(loss, parameters, allow_unused=True))


def test_a_head_has_its_rows_of_queries_keys_and_values_and_its_columns_of_the_output() -> None:
    model = vit().eval()
    layers, pieces, gradients = attention_layers(model), pieces_of(attention_layers(model)), None
    gradients = _gradients(model)
    found = norms(pieces, gradients, layers)
    assert set(_named(model)) == {
        f"blocks.{block}.attn.{name}"
        for block in range(3)
        for name in ("qkv.weight", "qkv.bias", "proj.weight")
    }
    by_name = dict(zip(_named(model), gradients, strict=True))
    weight, bias, proj = (
        by_name[f"blocks.1.attn.{name}"] for name in ("qkv.weight", "qkv.bias", "proj.weight")
    )
    assert weight is not None
    assert bias is not None
    assert proj is not None
    heads, dim = layers[1].num_heads, layers[1].head_dim
    for head in range(heads):
        own = slice(head * dim, (head + 1) * dim)
        squares = proj[:, own].square().sum()
        for part in range(3):  # queries, keys, values
            squares += weight.view(3, heads * dim, -1)[part, own].square().sum()
            squares += bias.view(3, heads * dim)[part, own].square().sum()
        torch.testing.assert_close(found[1][head], squares.sqrt())


@pytest.mark.parametrize(
    ("attention", "own"),
    [
        ({**OWN, "head_sharing": "per_head"}, True),
        ({**OWN, "head_sharing": "shared"}, False),  # one operator for all heads
        ({**OWN, "block_sharing": "universal"}, False),  # and for all blocks
        (settings("temperature"), True),
        (settings("differential"), False),
    ],
    ids=str,
)
def test_what_heads_or_blocks_share_belongs_to_none(attention: dict[str, Any], own: bool) -> None:
    model = karat.convert(vit(), attention).eval()
    shared = [name for name in _named(model) if ".operator" in name]
    assert bool(shared) is own


def test_heads_of_a_hybrid_have_their_own() -> None:
    model = karat.convert(vit(), {**settings("temperature"), "heads": [0]}).eval()
    layers, pieces = attention_layers(model), pieces_of(attention_layers(model))
    assert [list(piece.heads) for piece in pieces if piece.block == 0 and piece.dim == 0][-1] == [0]
    found = norms(pieces, _gradients(model), layers)
    assert all(bool((each > 0).all()) for each in found)
