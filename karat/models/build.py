"""Builds vision transformers from settings."""

import torch
from torch import nn

from karat.attention.config import AttentionConfig
from karat.errors import CombinationError
from karat.models.config import ModelConfig
from karat.models.convert import convert
from karat.seeds import derive


def build_model(
    model: ModelConfig,
    attention: AttentionConfig,
    *,
    image_size: int,
    channels: int,
    classes: int,
    seed: int,
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

    Raises:
        CombinationError: see `check_model`.
    """
    # timm initialises from torch's global generator; the fork keeps the caller's state unchanged.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "model"))
        host = build_host(model, image_size, channels=channels, classes=classes)
    generator = torch.Generator().manual_seed(derive(seed, "operator"))
    return convert(host, attention, generator=generator)


def build_host(
    model: ModelConfig,
    image_size: int,
    *,
    channels: int = 3,
    classes: int = 10,
    device: str = "cpu",
) -> nn.Module:
    """The host model with its original attention.

    Raises:
        CombinationError: the host model cannot have this shape or image size.
    """
    arguments = {"img_size": image_size, "in_chans": channels, "num_classes": classes}
    host: nn.Module
    if model.is_plain:
        from timm.models.vision_transformer import VisionTransformer  # takes seconds to import

        model.grid(image_size)
        with torch.device(device):
            host = VisionTransformer(**arguments, **model.shape())
            return host
    import timm

    try:
        with torch.device(device):
            host = timm.create_model(model.name, pretrained=False, **arguments, **model.given())
            return host
    # timm's models check their arguments with assertions, or fail while they compute shapes.
    except (AssertionError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CombinationError(
            ("model.name", "data.image_size"),
            f"model.name = {model.name} cannot be built for images of {image_size} pixels"
            f"{''.join(f', {key} = {value}' for key, value in model.given().items())}: {error}",
        ) from error


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, with frozen ones; shared parameters count once."""
    return sum(parameter.numel() for parameter in module.parameters())
