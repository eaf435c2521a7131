"""Parameters and operations of a model, computed from its settings without its weights.

Counting convention: one multiply-add is one operation (FLOP), as in timm, fvcore and the paper.
Biases, norms, softmax and element-wise operations are not counted, except the KArAt activation,
which is counted as in the paper.
"""

import math
from dataclasses import dataclass

from karat.attention.config import FULL, AttentionConfig
from karat.models.config import ModelConfig
from karat.models.layers import AttentionLayer, chosen_layers
from karat.models.shape import layer_shapes


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one model.

    Args:
        parameters: number of all parameters.
        attention_parameters: number of those in KArAt operators.
        forward_flops: multiply-adds of the forward pass of one image, as karat computes it.
        activation_flops: the part of them in the KArAt activation.
        paper_flops: the same pass as the paper counts it: the multiply-adds of the host model
            (with `A V`, even if it is not computed, and without the product with W) plus the
            activation.
    """

    parameters: int
    attention_parameters: int
    forward_flops: int
    activation_flops: int
    paper_flops: int


def costs_of(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
) -> Costs:
    """Costs of the vision transformer that `karat.models.build.build_model` would build.

    Source: arXiv 2503.10632, Tables 2 and 3: (2G + 3) R N parameters per Fourier operator and
    L H N^2 R (3G + 1) FLOPs for its activation. `paper_flops` is 0.1 to 0.7 % below the total
    GFLOPs of the paper, which appear to include norms and a part of softmax.

    Raises:
        InputError: the settings are not compatible.
    """
    host = _plain_host if model.is_plain else _any_host
    parameters, flops = host(model, image_size, channels, classes)
    if attention.is_softmax:
        return Costs(
            parameters=parameters,
            attention_parameters=0,
            forward_flops=flops,
            activation_flops=0,
            paper_flops=flops,
        )
    layers = chosen_layers(layer_shapes(model, image_size), attention)
    added = activation = change = 0
    for index, layer in enumerate(layers):
        config = attention.of_block(index, len(layers))
        if index == 0 or attention.block_sharing == "blockwise":
            added += _operator_parameters(config, layer)
        for heads, part in config.parts(layer.num_heads):
            if part is not None:
                rows = layer.windows * len(heads) * layer.num_tokens
                activation += rows * layer.num_tokens * _activation_per_score(part, layer)
                change += rows * _products_per_row(part, layer)
                # The operator replaces A V, but not in a gated layer: ConViT's position scores
                # are still multiplied with V.
                if not layer.is_gated:
                    change -= rows * layer.num_tokens * layer.head_dim
    return Costs(
        parameters=parameters + added,
        attention_parameters=added,
        forward_flops=flops + activation + change,
        activation_flops=activation,
        paper_flops=flops + activation,
    )


def _operator_parameters(config: AttentionConfig, layer: AttentionLayer) -> int:
    """Parameters of the operators that `karat.attention.heads.make_operator` would make."""
    tokens = layer.num_tokens
    return sum(
        part.operators(len(heads)) * _parameters_of_one(part, tokens)
        for heads, part in config.parts(layer.num_heads)
        if part is not None
    )


def _parameters_of_one(config: AttentionConfig, tokens: int) -> int:
    """Parameters of one operator: tables of units, W and the output scale."""
    unit = sum(math.prod(shape) for shape in config.make_basis().coefficient_shapes().values())
    unit += 2 if config.unit_scales else 0
    table = config.outputs(tokens) * tokens
    found = table * unit
    if config.rank != FULL:  # plus a second table of units (phi_phi) or W
        found += table * unit if config.operator_order == "phi_phi" else table
    return found + (config.output_scale == "learned")


def _activation_per_score(config: AttentionConfig, layer: AttentionLayer) -> int:
    """Operations of the units for one score: R units, twice as many in `phi_phi`."""
    times = 2 if config.operator_order == "phi_phi" else 1
    return times * config.outputs(layer.num_tokens) * config.make_basis().flops_per_unit()


def _products_per_row(config: AttentionConfig, layer: AttentionLayer) -> int:
    """Multiply-adds with W and V for one row of scores, in karat's order of computation."""
    rank, tokens, width = config.outputs(layer.num_tokens), layer.num_tokens, layer.head_dim
    if config.rank == "full" or config.operator_order == "phi_phi":
        return tokens * width
    if config.operator_order == "phi_w" or layer.is_masked:
        return rank * tokens + tokens * width
    return 2 * rank * width


def _plain_host(
    model: ModelConfig, image_size: int, channels: int, classes: int
) -> tuple[int, int]:
    """Parameters and multiply-adds of a plain ViT, without importing timm."""
    shape, patches = model.shape(), model.grid(image_size) ** 2
    tokens, width, depth = patches + 1, shape["embed_dim"], shape["depth"]
    pixels = channels * shape["patch_size"] ** 2
    # Patch embedding, position embedding with class token, classifier.
    parameters = pixels * width + width + (tokens + 1) * width + (width + 1) * classes
    # Per block qkv 3, proj 1 and MLP 8 width² with biases and two norms; then the last norm.
    parameters += depth * (12 * width**2 + 13 * width) + 2 * width
    flops = patches * pixels * width + width * classes
    # Per block the same matrices for each token, and the two products Q Kᵀ and A V.
    flops += depth * (tokens * 12 * width**2 + 2 * tokens**2 * width)
    return parameters, flops


def _any_host(model: ModelConfig, image_size: int, channels: int, classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds of any host model, counted on a model without memory (meta)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from karat.models.hosts import build_host, count_parameters

    host = build_host(model, image_size, channels=channels, classes=classes, device="meta").eval()
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        host(torch.empty(1, channels, image_size, image_size))
    return count_parameters(host), counter.get_total_flops() // 2
