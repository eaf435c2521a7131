"""What a model costs, from its settings alone: parameters and operations, without building it.

Counting convention: one multiply-add is one operation (FLOP), as timm, fvcore and the paper
count; bias, norms, softmax and element-wise work are left out, but for the paper's own count of
the KArAt activation.
"""

import math
from dataclasses import dataclass

from karat.attention import AttentionConfig
from karat.models import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of one model.

    Args:
        parameters: learnable, in all.
        attention_parameters: those of the KArAt operators among them.
        forward_flops: multiply-adds of one forward pass of one picture.
        activation_flops: those of the KArAt activation among them.
    """

    parameters: int
    attention_parameters: int
    forward_flops: int
    activation_flops: int


def costs_of(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
) -> Costs:
    """Costs of the vision transformer that `karat.models.build_model` would build.

    Source: arXiv 2503.10632, Tables 2 and 3: (2G + 3) R N parameters per Fourier operator and
    L H N^2 R (3G + 1) FLOPs for its activation.

    Raises:
        CombinationError: settings that do not go together.
    """
    shape = model.shape()
    tokens, width, depth = model.num_tokens(image_size), shape["embed_dim"], shape["depth"]
    patch = channels * shape["patch_size"] ** 2
    block = 12 * width**2 + 13 * width
    host = patch * width + width + (tokens + 1) * width + depth * block + 2 * width
    host += (width + 1) * classes
    linear = (tokens - 1) * patch * width + depth * tokens * 12 * width**2 + width * classes
    scores = depth * tokens**2 * width
    if attention.is_softmax:
        return Costs(
            parameters=host,
            attention_parameters=0,
            forward_flops=linear + 2 * scores,
            activation_flops=0,
        )
    heads, rank = shape["num_heads"], attention.rank
    attention.check_tokens(tokens)
    basis = attention.make_basis()
    unit = sum(math.prod(each) for each in basis.coefficient_shapes().values()) + 1
    unit += 2 if attention.unit_scales else 0
    sets = 1 if attention.block_sharing == "universal" else depth
    added = unit * rank * tokens * attention.operators(heads) * sets
    activation = depth * heads * tokens**2 * rank * basis.flops_per_unit()
    projection = 2 * depth * tokens * rank * width
    return Costs(
        parameters=host + added,
        attention_parameters=added,
        forward_flops=linear + scores + activation + projection,
        activation_flops=activation,
    )
