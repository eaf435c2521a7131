"""Random directions in the space of a model's weights, as long as its weights filter by filter."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from karat.analyses.geometry.trained import Trained
from karat.seeds import derive


def random_direction(trained: Trained, number: int) -> Tensor:
    """A filter-normalised random direction: (P,).

    Numbers are drawn from N(0, 1), parameter by parameter with a generator of its own, so that models get the same
    draws in the parameters that they share, and none depends on the order of the parameters.

    Args:
        trained: the parameters.
        number: which direction, from 0.
    """
    drawn = {}
    for name, parameter in trained.parameters.items():
        generator = torch.Generator().manual_seed(derive("direction", number, name))
        drawn[name] = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return trained.joined(filter_normalised(drawn, trained.parameters, trained.filter_dims()))


def filter_normalised(
    drawn: Mapping[str, Tensor], weights: Mapping[str, Tensor], dims: Mapping[str, int]
) -> dict[str, Tensor]:
    """Directions in which each filter is as long as that of the weights: `d_f |w_f| / |d_f|`.

    Source: Li et al. 2018, arXiv 1712.09913, Section 4. A filter is what forms one output:

    * of a weight matrix or a convolution, its row: the weights of one output;
    * of an operator's table (P, R, M, ...), the numbers of one operator p and output r over all inputs and
      coefficients, since Φ̂(x)_r = sum_m φ_rm(x_m) is one row times the basis functions of all scores; of W
      (P, N, R), of tables that mix positions, and of a mechanism's matrix for each head alike: one row;
    * of position embeddings and class tokens (1, N, C), the vector of one token.

    As in the paper, what is a bias or a scale has no direction (0): every parameter with one number for each output
    (biases, norms, layer scale, gates, scales of an operator or a head). Each (P, R, M) table of a unit's scales is a
    table like the others. Filters of zeros have no direction either.

    Args:
        drawn: random numbers.
        weights: of the model.
        dims: number of leading dimensions that count filters.
    """
    found = {}
    for name, direction in drawn.items():
        weight = weights[name].double()
        inner = tuple(range(dims[name], weight.dim()))
        if weight.numel() == weight.shape[: dims[name]].numel():  # one number for each output
            found[name] = torch.zeros_like(weight)
            continue
        length = weight.square().sum(inner, keepdim=True).sqrt()
        own = direction.double().square().sum(inner, keepdim=True).sqrt()
        found[name] = direction * (length / own)
    return found
