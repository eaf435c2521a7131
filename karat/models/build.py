"""Builds vision transformers from settings."""

import torch
from torch import nn

from karat.attention.config import AttentionConfig
from karat.models.config import ModelConfig
from karat.models.convert import convert
from karat.models.hosts import build_host
from karat.seeds import derive


def build_model(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
    seed: int,
    drop_path: float | None = None,
) -> nn.Module:
    """A vision transformer whose initial weights depend on the seed alone.

    For one seed, models with different attention operators have the same initial weights in all
    other modules, since the weights of the operators are drawn from a separate generator.

    Args:
        model: size and shape.
        attention: settings of the operator.
        image_size: pixels along an edge of the (square) image.
        channels: channels of the image.
        classes: outputs of the classifier.
        seed: seed of the initial weights.
        drop_path: rate of stochastic depth in the last block, in training; None for the model's own.

    Raises:
        CombinationError: see `check_model`.
    """
    # timm initialises from torch's global generator; the fork keeps the caller's state unchanged.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "model"))
        host = build_host(
            model, image_size, channels=channels, classes=classes, drop_path=drop_path
        )
    generator = torch.Generator().manual_seed(derive(seed, "operator"))
    return convert(host, attention, generator=generator)
