"""How alike representations are: between blocks of a model, between runs of an arm, and between arms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from karat.analyses.attention import cka
from karat.analyses.attention.interventions import batch_size
from karat.analyses.attention.similarity_found import CLASS_TOKEN, PATCHES, SimilarityFound
from karat.analyses.kinds import Arms, Chapter
from karat.analyses.subject import Subject
from karat.errors import AnalysisError, HostError
from karat.models.hosts import attention_layers, has_class_token

if TYPE_CHECKING:
    from torch import Tensor, nn

    from karat.analyses.pictures import Picture
    from karat.models.layers import AttentionLayer

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
MOST_IMAGES = 256


@dataclass(frozen=True, kw_only=True)
class Similarity(SimilarityFound):
    """Linear CKA of features after each block; fields as of `SimilarityFound`."""

    title: ClassVar[str] = "Similarity of representations"
    order: ClassVar[int] = 50
    seeds: ClassVar[int] = 2

    @classmethod
    @torch.no_grad()
    def measure(cls, subject: Subject) -> Self:
        images = subject.images[:MOST_IMAGES]
        if len(images) < cka.LEAST_IMAGES:
            raise AnalysisError(f"needs at least {cka.LEAST_IMAGES} images, got {len(images)}")
        try:
            layers = attention_layers(subject.model)
        except HostError as error:
            raise AnalysisError(str(error)) from error
        has_class = bool(layers[-1].prefix_tokens) and has_class_token(subject.model)
        kinds = (CLASS_TOKEN, PATCHES) if has_class else (PATCHES,)
        found: list[list[Tensor]] = [[] for _ in layers]
        with ExitStack() as stack:
            for layer, own in zip(layers, found, strict=True):
                handle = layer.block.register_forward_hook(_keeping(layer, kinds, own))
                stack.callback(handle.remove)
            for part in torch.split(images, batch_size(subject.model)):
                subject.model(part)
        blocks = [torch.cat(own, 1) for own in found]
        width = max(block.shape[2] for block in blocks)
        filled = [torch.nn.functional.pad(each, (0, width - each.shape[2])) for each in blocks]
        return cls(images=len(images), kinds=kinds, features=torch.stack(filled, 1).float().numpy())

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        from karat.analyses.attention.similarity_report import pictures

        return pictures(arms)

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        from karat.analyses.attention.similarity_report import chapter

        return chapter(arms)


def similarity(model: nn.Module, images: Tensor) -> Similarity:
    """Features of a model after each block, and how alike blocks are.

    Args:
        model: a supported host, with any attention.
        images: (I, C, H, W), as the model takes them, at least 4; the first 256 are used.

    Raises:
        AnalysisError: the model is not a supported host, or there are too few images.
    """
    return Similarity.measure(Subject(model=model, images=images))


def _as_tokens(layer: AttentionLayer, output: Tensor) -> Tensor:
    """(B, tokens, C) of what a block gives."""
    if output.dim() == 3:
        return output
    return output.flatten(2).mT if layer.channels_first else output.flatten(1, -2)


def _keeping(layer: AttentionLayer, kinds: tuple[str, ...], own: list[Tensor]) -> Any:
    def hook(module: Any, inputs: Any, output: Tensor) -> None:
        tokens = _as_tokens(layer, output)
        prefix = layer.prefix_tokens
        found = []
        for kind in kinds:
            if kind == PATCHES:
                found.append(tokens[:, prefix:].mean(1))
            elif prefix:
                found.append(tokens[:, 0])
            else:
                found.append(torch.full_like(tokens[:, 0], torch.nan))
        own.append(torch.stack(found))

    return hook
