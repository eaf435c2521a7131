"""A training step of one attention module in a vision transformer, in a process that measures its memory."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from karat.attention.config import AttentionConfig
from karat.models.build import build_model
from karat.models.config import ModelConfig

BATCH = 4
_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc


def model_of(settings: Mapping[str, Any], image_size: int = 224) -> torch.nn.Module:
    """ViT-Tiny with one block, with 197 tokens."""
    shape = {"image_size": image_size, "channels": 3, "classes": 10}
    attention = AttentionConfig.from_settings(settings)
    return build_model(ModelConfig(name="vit_tiny", depth=1), attention, seed=0, **shape).train()


def step(model: torch.nn.Module, images: int, image_size: int = 224) -> None:
    """Forward and backward pass."""
    labels = torch.zeros(images, dtype=torch.long)
    logits = model(torch.randn(images, 3, image_size, image_size))
    F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]


def prepare(settings: Mapping[str, Any]) -> Callable[[], None]:
    """The step to measure, for `benchmarks.measuring.peak_bytes`.

    Large tensors get memory of their own, which is given back at once: with what glibc keeps for later, a
    process takes up to 1.4 times its live tensors, more or less by chance.
    """
    ctypes.CDLL(None).mallopt(_THRESHOLD, 1 << 17)
    torch.set_num_threads(1)
    step(model_of(settings, 64), 2, 64)  # loads libraries, with 17 tokens
    model = model_of(settings)
    return lambda: step(model, BATCH)
