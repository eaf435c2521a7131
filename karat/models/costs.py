"""Parameters and operations of a model, computed from its settings without its weights.

Counting convention: one multiply-add is one operation (FLOP), as in timm, fvcore and the paper.
Biases, norms, softmax, sorting, means and element-wise operations are not counted, except learned
functions of scores, which are counted as in the paper.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from karat.attention.config import AttentionConfig
from karat.attention.mechanisms import Mechanism, Place
from karat.attention.mechanisms._operator import OperatorMechanism
from karat.models.config import ModelConfig
from karat.models.layers import AttentionLayer, chosen_layers
from karat.models.shape import layer_shapes


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one model.

    Args:
        parameters: number of all parameters.
        attention_parameters: number of those that the mechanism adds, with frozen ones.
        forward_flops: multiply-adds of the forward pass of one image, as karat computes it.
        activation_flops: the part of them in learned functions of scores.
        paper_flops: the same pass as the paper counts it: the multiply-adds of the host model
            (with `A V`, even if it is not computed, and without the product with W) plus the
            activation. For mechanisms that the paper does not have, the same as `forward_flops`.
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
    layers = layer_shapes(model, image_size)
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
    layers = chosen_layers(layers, attention)
    added = activation = change = 0
    for index, layer in enumerate(layers):
        is_new = index == 0 or attention.block_sharing == "blockwise"
        for mechanism, place in _mechanisms(attention.of_block(index, len(layers)), layer):
            added += mechanism.parameters(place) if is_new else 0
            rows = layer.windows * place.num_heads * layer.num_tokens
            activation += rows * layer.keys * mechanism.activation_per_score(place)
            change += rows * mechanism.operations_per_row(place)
            # They replace Q Kᵀ and A V, but A V not in a gated layer: ConViT's position scores
            # are still multiplied with V.
            products = 1 if layer.is_gated else 2
            change -= rows * products * layer.keys * layer.head_dim
    by_operator = isinstance(attention.make_mechanism(), OperatorMechanism)
    return Costs(
        parameters=parameters + added,
        attention_parameters=added,
        forward_flops=flops + activation + change,
        activation_flops=activation,
        paper_flops=flops + activation + (0 if by_operator else change),
    )


def _mechanisms(
    config: AttentionConfig, layer: AttentionLayer
) -> Iterator[tuple[Mechanism, Place]]:
    """The mechanisms of one layer with their heads, without heads that keep softmax."""
    for heads, part in config.parts(layer.num_heads):
        if part is not None:
            yield part.make_mechanism(), replace(layer.place, num_heads=len(heads))


def _plain_host(
    model: ModelConfig, image_size: int, channels: int, classes: int
) -> tuple[int, int]:
    """Parameters and multiply-adds of a plain ViT, without importing timm."""
    shape, patches = model.shape(), model.grid(image_size) ** 2
    tokens, width, depth = patches + 1 + model.registers, shape["embed_dim"], shape["depth"]
    pixels = channels * shape["patch_size"] ** 2
    # Patch embedding, position embedding with class token, registers, classifier.
    parameters = pixels * width + width + (tokens + 1) * width + (width + 1) * classes
    # Per block qkv 3, proj 1 and MLP 8 width² with biases and two norms; then the last norm.
    parameters += depth * (12 * width**2 + 13 * width) + 2 * width
    flops = patches * pixels * width + width * classes
    # Per block the same matrices for each token, and the two products Q Kᵀ and A V.
    flops += depth * (tokens * 12 * width**2 + 2 * tokens**2 * width)
    return parameters, flops


# The arms of a space have few hosts, and a plan asks for each often.
@functools.lru_cache(maxsize=64)
def _any_host(model: ModelConfig, image_size: int, channels: int, classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds of any host model, counted on a model without memory (meta)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from karat.models.hosts import build_host, count_parameters

    host = build_host(model, image_size, channels=channels, classes=classes, device="meta").eval()
    host.requires_grad_(
        False
    )  # the counter fails at a parameter that enters a module (attention pooling)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        host(torch.empty(1, channels, image_size, image_size))
    return count_parameters(host), counter.get_total_flops() // 2
