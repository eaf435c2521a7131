"""What a model costs, from its settings alone: parameters and operations, without its weights.

Counting convention: one multiply-add is one operation (FLOP), as timm, fvcore and the paper
count; bias, norms, softmax and element-wise work are left out, but for the paper's own count of
the KArAt activation.
"""

import math
from dataclasses import dataclass

from karat.attention.config import FULL, AttentionConfig
from karat.models.config import ModelConfig
from karat.models.layers import Site, chosen_sites
from karat.models.shape import sites_of_model


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one model.

    Args:
        parameters: in all.
        attention_parameters: those of the KArAt operators among them.
        forward_flops: multiply-adds of one forward pass of one image, as karat computes it.
        activation_flops: those of the KArAt activation among them.
        paper_flops: the same pass in the paper's counting: the host's multiply-adds, with `A V`
            though it may not be computed and without the product with W, and the activation.
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
    L H N^2 R (3G + 1) FLOPs for its activation. `paper_flops` is 0.1 to 0.7 % below the paper's total
    GFLOPs, which seem to count the norms and something for softmax.

    Raises:
        InputError: settings that do not go together.
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
    sites = chosen_sites(sites_of_model(model, image_size), attention)
    added = activation = change = 0
    for index, site in enumerate(sites):
        config = attention.of_block(index, len(sites))
        if index == 0 or attention.block_sharing == "blockwise":
            added += _operator_parameters(config, site)
        for heads, part in config.parts(site.num_heads):
            if part is not None:
                rows = site.windows * len(heads) * site.num_tokens
                activation += rows * site.num_tokens * _activation_per_score(part, site)
                change += rows * _products_per_row(part, site)
                if not site.is_gated:  # there the position part of the weights stays
                    change -= rows * site.num_tokens * site.head_dim
    return Costs(
        parameters=parameters + added,
        attention_parameters=added,
        forward_flops=flops + activation + change,
        activation_flops=activation,
        paper_flops=flops + activation,
    )


def _operator_parameters(config: AttentionConfig, site: Site) -> int:
    """Of what `karat.attention.heads.make_operator` would make."""
    tokens = site.num_tokens
    return sum(
        part.operators(len(heads)) * _parameters_of_one(part, tokens)
        for heads, part in config.parts(site.num_heads)
        if part is not None
    )


def _parameters_of_one(config: AttentionConfig, tokens: int) -> int:
    """One operator's tables of units, its W and its scale."""
    unit = sum(math.prod(shape) for shape in config.make_basis().coefficient_shapes().values())
    unit += 2 if config.unit_scales else 0
    table = config.outputs(tokens) * tokens
    found = table * unit
    if config.rank != FULL:  # beside them a second table of units, or W
        found += table * unit if config.operator_order == "phi_phi" else table
    return found + (config.output_scale == "learned")


def _activation_per_score(config: AttentionConfig, site: Site) -> int:
    """Operations of the units for one score: R units, in `phi_phi` twice."""
    times = 2 if config.operator_order == "phi_phi" else 1
    return times * config.outputs(site.num_tokens) * config.make_basis().flops_per_unit()


def _products_per_row(config: AttentionConfig, site: Site) -> int:
    """Multiply-adds with W and V for one row of scores, in the order that karat computes them."""
    rank, tokens, width = config.outputs(site.num_tokens), site.num_tokens, site.head_dim
    if config.rank == "full" or config.operator_order == "phi_phi":
        return tokens * width
    if config.operator_order == "phi_w" or site.is_masked:
        return rank * tokens + tokens * width
    return 2 * rank * width


def _plain_host(
    model: ModelConfig, image_size: int, channels: int, classes: int
) -> tuple[int, int]:
    """Parameters and multiply-adds of a plain ViT, without timm."""
    shape, patches = model.shape(), model.grid(image_size) ** 2
    tokens, width, depth = patches + 1, shape["embed_dim"], shape["depth"]
    pixels = channels * shape["patch_size"] ** 2
    parameters = pixels * width + width + (tokens + 1) * width + (width + 1) * classes
    parameters += depth * (12 * width**2 + 13 * width) + 2 * width
    flops = patches * pixels * width + width * classes
    flops += depth * (tokens * 12 * width**2 + 2 * tokens**2 * width)
    return parameters, flops


def _any_host(model: ModelConfig, image_size: int, channels: int, classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a host, counted on a model without weights."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from karat.models.build import build_host, count_parameters

    host = build_host(model, image_size, channels=channels, classes=classes, device="meta").eval()
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        host(torch.empty(1, channels, image_size, image_size))
    return count_parameters(host), counter.get_total_flops() // 2
