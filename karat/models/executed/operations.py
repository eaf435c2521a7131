"""The arithmetic of a training step, counted from settings."""

from dataclasses import dataclass, replace

from karat.attention.config import AttentionConfig
from karat.attention.mechanisms import Mechanism, Place
from karat.attention.mechanisms.softmax import Softmax
from karat.models.config import ModelConfig
from karat.models.costs import costs_of
from karat.models.layers import AttentionLayer, chosen_layers
from karat.models.shape import layer_shapes


@dataclass(frozen=True, kw_only=True)
class StepOperations:
    """Multiply-adds of the forward and backward pass of one image.

    Args:
        total: of the model.
        attention: from queries, keys and values to the output of attention.
        learned: of these, in learned functions of scores.
    """

    total: float
    attention: float
    learned: float


def step_operations(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
) -> StepOperations:
    """Count products of matrices and learned functions, each with what the backward pass repeats.

    Outside attention the backward pass takes twice the forward pass. Norms, softmax's exponentials and
    the like are not counted.

    Raises:
        InputError: the settings are not compatible.
    """
    shape = {"image_size": image_size, "channels": channels, "classes": classes}
    layers = layer_shapes(model, image_size)
    rest = costs_of(model, AttentionConfig(), **shape).forward_flops
    rest -= sum(_rows(layer) * _products(layer) for layer in layers)
    converted = {} if attention.is_softmax else _converted(layers, attention)
    in_attention = learned = 0.0
    for layer in layers:
        for mechanism, place in converted.get(layer.number, [(Softmax(), layer.place)]):
            rows = layer.windows * place.num_heads * place.num_tokens
            in_attention += rows * mechanism.step_operations(place)
            learned += rows * mechanism.learned_work(place).total
    return StepOperations(total=3 * rest + in_attention, attention=in_attention, learned=learned)


def _converted(
    layers: list[AttentionLayer], attention: AttentionConfig
) -> dict[int, list[tuple[Mechanism, Place]]]:
    """The mechanisms of each converted layer, with their heads."""
    chosen = chosen_layers(layers, attention)
    found = {}
    for index, layer in enumerate(chosen):
        parts = attention.of_block(index, len(chosen)).parts(layer.num_heads)
        found[layer.number] = [
            (
                part.make_mechanism() if part else Softmax(),
                replace(layer.place, num_heads=len(heads)),
            )
            for heads, part in parts
        ]
    return found


def _rows(layer: AttentionLayer) -> int:
    """Rows of scores of one image."""
    return layer.windows * layer.num_heads * layer.num_tokens


def _products(layer: AttentionLayer) -> int:
    """Multiply-adds of Q Kᵀ and A V for a row; of a gated layer's second attention too."""
    return 2 * layer.num_tokens * layer.head_dim
