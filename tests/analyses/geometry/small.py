"""A very small model with images and classes, and the promise that analyses leave a model alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.models.test_models import vit

SMALL = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 12, "depth": 1}


def small_vit(**more: Any) -> nn.Module:
    """3 heads of width 4, 5 tokens, 3 classes."""
    torch.manual_seed(0)
    return vit(**{**SMALL, "mlp_ratio": 1.0, "num_classes": 3, **more}).eval()


def small_images(count: int = 6) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def labels(count: int = 6) -> Tensor:
    return torch.arange(count) % 3


@contextmanager
def left_alone(model: nn.Module) -> Iterator[None]:
    """Within this context weights, gradients, mode and global random states must not change."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [(name, each.requires_grad) for name, each in model.named_parameters()]
    modules = [(name, type(each), each.training) for name, each in model.named_modules()]
    random, other = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    yield
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [(name, each.requires_grad) for name, each in model.named_parameters()] == flags
    assert all(each.grad is None for each in model.parameters())
    assert [(name, type(each), each.training) for name, each in model.named_modules()] == modules
    assert torch.equal(torch.get_rng_state(), random)
    np.testing.assert_array_equal(np.random.get_state()[1], other)  # type: ignore[call-overload]
