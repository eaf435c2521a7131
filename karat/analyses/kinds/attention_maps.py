"""What the class token attends to, and numbers about all attention weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from karat.analyses.attention import measures
from karat.analyses.attention.interventions import batch_size
from karat.analyses.attention.learned.fitted import shown_blocks
from karat.analyses.attention.maps_found import MEASURES, MapsFound
from karat.analyses.kinds import Arms, Chapter
from karat.analyses.seeing import seen_by_batch
from karat.analyses.subject import Subject
from karat.errors import AnalysisError, HostError
from karat.models.hosts import attention_layers, has_class_token
from karat.models.layers import AttentionLayer
from karat.models.observing import Seen

if TYPE_CHECKING:
    from torch import Tensor, nn

    from karat.analyses.pictures import Picture

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
MOST_IMAGES = 256
SHOWN = 4  # images whose maps are kept to be shown
COMPARED = 32  # images whose maps are kept to be compared with those of other models
PIXELS = 96  # of a shown image along its longer edge, at most


@dataclass(frozen=True, kw_only=True)
class AttentionMaps(MapsFound):
    """Class-token rows, attention rollout, and numbers by block and head; fields as of `MapsFound`."""

    title: ClassVar[str] = "Attention maps"
    order: ClassVar[int] = 20
    seeds: ClassVar[int] = 2

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        try:
            layers = attention_layers(subject.model)
        except HostError as error:
            raise AnalysisError(str(error)) from error
        if not layers[-1].prefix_tokens or not has_class_token(subject.model):
            raise AnalysisError("has no class token, whose row of weights this shows")
        few = Subject(model=subject.model, images=subject.images[:MOST_IMAGES])
        numbers, means = _Numbers(layers), _Means()
        rows: list[Tensor] = []
        for seen in seen_by_batch(few, batch_size(few.model)):
            numbers.add(seen)
            with_token = [each for each in seen if each.layer.prefix_tokens]
            means.add(with_token)
            if sum(map(len, rows)) < COMPARED:
                rows.append(torch.stack([each.weights[:, :, 0] for each in with_token], 1))
        chosen = shown_images(subject)
        maps = _maps(Subject(model=subject.model, images=subject.images[chosen]))
        last = layers[-1]
        return cls(
            images=len(few.images),
            grid=np.array(last.grid),
            values=numbers.found(),
            uniform_distance=float(measures.distances(last.grid).mean()),
            shown=_pixels(subject.images[chosen]),
            mean_maps=means.found(),
            rows_per_image=torch.cat(rows)[:COMPARED].float().numpy(),
            **maps,
        )

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        from karat.analyses.attention.map_pictures import pictures

        return pictures(arms)

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        from karat.analyses.attention.map_text import chapter

        return chapter(arms)


def attention_maps(model: nn.Module, images: Tensor, labels: Tensor | None = None) -> AttentionMaps:
    """What the class token of a model attends to, and numbers about all weights.

    Args:
        model: a supported host with a class token, with any attention.
        images: (I, C, H, W), as the model takes them; the first 256 are used, and 4 shown.
        labels: (I,), their classes: with them the shown images are the first of different classes.

    Raises:
        AnalysisError: the model has no class token, or its attention cannot be looked into.
    """
    return AttentionMaps.measure(Subject(model=model, images=images, labels=labels))


def shown_images(subject: Subject) -> list[int]:
    """Numbers of the images that are shown: the first of the first four classes that occur, or the first four."""
    if subject.labels is None:
        return list(range(min(SHOWN, len(subject.images))))
    seen: dict[int, int] = {}
    for number, label in enumerate(subject.labels.tolist()):
        seen.setdefault(label, number)
    return sorted(seen.values())[:SHOWN]


class _Numbers:
    """Adds up the measures of every block and head."""

    def __init__(self, layers: Sequence[AttentionLayer]) -> None:
        self._layers = layers
        shapes = [(layer.num_heads, len(MEASURES)) for layer in layers]
        self._sums = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
        self._counts = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]

    def add(self, seen: Sequence[Seen]) -> None:
        for each, sums, counts in zip(seen, self._sums, self._counts, strict=True):
            columns = self._columns(each)
            known = columns.isfinite()
            sums += columns.nan_to_num(0.0, 0.0, 0.0).sum(0)
            counts += known.sum(0)

    @staticmethod
    def _columns(each: Seen) -> Tensor:
        """(B, H, 9): the measures of each image, with the mean squared row sum in the place of its deviation."""
        weights, layer = each.weights.double(), each.layer
        row_sums = weights.sum(-1)
        first = measures.columns(weights)[..., 0]
        share, value = measures.sink(weights, each.values)
        found = [
            measures.entropy(weights).nanmean(-1),
            measures.distance(weights, layer.grid, layer.prefix_tokens).nanmean(-1),
            measures.negative_share(weights),
            row_sums.mean(-1),
            row_sums.square().mean(-1),
            weights.square().sum((-2, -1)).sqrt() / layer.num_tokens**0.5,
            first if layer.prefix_tokens else torch.full_like(first, torch.nan),
            share,
            value,
        ]
        return torch.stack(found, -1)

    def found(self) -> Array:
        means = [
            torch.where(counts > 0, sums / counts, torch.nan)
            for sums, counts in zip(self._sums, self._counts, strict=True)
        ]
        values: Array = torch.stack(means).numpy()
        mean, square = MEASURES.index("row_sum"), MEASURES.index("row_sum_sd")
        # Rounding may leave a little less than nothing.
        values[..., square] = np.sqrt(np.maximum(values[..., square] - values[..., mean] ** 2, 0))
        return values


class _Means:
    """Adds up weights."""

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._images = 0

    def add(self, seen: Sequence[Seen]) -> None:
        sums = [each.weights.double().sum(0) for each in seen]
        self._sums = [a + b for a, b in zip(self._sums, sums, strict=True)] if self._sums else sums
        self._images += len(seen[0].weights)

    def found(self) -> Float32:
        maps: Float32 = (torch.stack(self._sums) / self._images).float().numpy()
        return maps


def _maps(shown: Subject) -> dict[str, Any]:
    """Maps of the shown images, in one batch."""
    (seen,) = seen_by_batch(shown, len(shown.images))
    with_token = [each for each in seen if each.layer.prefix_tokens]
    blocks = sorted(shown_blocks([each.layer.number for each in with_token]))
    before, after = [], []
    for block in blocks:
        each = seen[block]
        prefix = each.layer.prefix_tokens
        row = each.weights[:, :, 0]
        scores = torch.full_like(row, torch.nan) if each.scores is None else each.scores[:, :, 0]
        mass = row.abs().sum(-1, keepdim=True)
        after.append((row / mass.clamp(min=1e-30))[..., prefix:])
        before.append(scores[..., prefix:])
    rolled = measures.rollout([each.weights for each in with_token])[:, 0]
    return {
        "blocks": np.array(blocks),
        "before": torch.stack(before).float().numpy(),
        "after": torch.stack(after).float().numpy(),
        "rolled": rolled[:, with_token[-1].layer.prefix_tokens :].float().numpy(),
    }


def _pixels(images: Tensor) -> Float32:
    """The images from 0 to 1, made smaller where they are large."""
    longest = max(images.shape[2:])
    if longest > PIXELS:
        height, width = (max(1, side * PIXELS // longest) for side in images.shape[2:])
        images = torch.nn.functional.adaptive_avg_pool2d(images, (height, width))
    flat = images.flatten(1).float()
    low, high = flat.min(1).values, flat.max(1).values
    scaled: Float32 = (
        ((flat - low[:, None]) / (high - low).clamp(min=1e-12)[:, None])
        .reshape(images.shape)
        .numpy()
    )
    return scaled
