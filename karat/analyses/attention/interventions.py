"""What a trained model still reaches when its attention is changed, without training it again.

Changes are made part by part in the order of the forward pass, so that what one pass recorded fits the next one,
whatever mechanisms the heads have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from karat.analyses.attention.content import by_window
from karat.models.content import without_content
from karat.models.hosts import attention_layers
from karat.models.layers import AttentionLayer
from karat.models.observing import Seen, observed

Array = NDArray[np.float64]
TRAINED, SHUFFLED, BLIND, MEAN, LINES = (
    "as trained",
    "scores of another image",
    "queries and keys at zero",
    "mean weights",
    "lines for functions",
)
SHUFFLES = 3
MOST_PAIRS = 2**18  # scores of one head in a batch, over all windows: bounds the memory
RESAMPLES = 2000
_SEED = 17


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Accuracy under each change, with 95 % intervals over images.

    Args:
        names: of the changes; the first is the model as trained.
        accuracy: (C,), share of images whose class is the greatest logit; `SHUFFLED` is a mean of 3 shuffles.
        low, high: (C,), of the accuracy: Wilson's interval; by resampling for `SHUFFLED`.
        difference: (C,), to the model as trained, and
        difference_low, difference_high: (C,), its interval: paired, by resampling images.
    """

    names: tuple[str, ...]
    accuracy: Array
    low: Array
    high: Array
    difference: Array
    difference_low: Array
    difference_high: Array


class MeanWeights:
    """Adds up the weights of each part, then puts their mean over images in the place of each."""

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._images, self._at = 0, 0

    def begin(self, images: int = 0) -> None:
        """Before each forward pass; with the number of images whose weights are added."""
        self._images += images
        self._at = 0

    def add(self, layer: AttentionLayer, weights: Tensor) -> Tensor:
        """A change of `observed` that changes nothing."""
        total = by_window(weights.double(), layer).sum(0)
        if self._at == len(self._sums):
            self._sums.append(total)
        else:
            self._sums[self._at] += total
        self._at += 1
        return weights

    def put(self, layer: AttentionLayer, weights: Tensor) -> Tensor:
        """A change of `observed` that puts the mean over images."""
        mean = (self._sums[self._at] / self._images).to(weights.dtype)
        self._at += 1
        return mean.repeat(len(weights) // layer.windows, 1, 1, 1)


class Scores:
    """Keeps the scores of each part in one pass, and gives those of other images in the next."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []
        self._order, self._at = torch.empty(0, dtype=torch.long), 0

    def keep(self, layer: AttentionLayer, scores: Tensor) -> Tensor:
        """A change of `observed` that changes nothing."""
        self._kept.append(scores)
        return scores

    def begin(self, order: Tensor) -> None:
        """Before a pass in which image i gets the scores of image `order[i]`."""
        self._order, self._at = order, 0

    def put(self, layer: AttentionLayer, scores: Tensor) -> Tensor:
        """A change of `observed` that gives an image the scores of another."""
        kept = by_window(self._kept[self._at], layer)
        self._at += 1
        mixed: Tensor = kept[self._order].flatten(0, 1)
        return mixed


def batch_size(model: nn.Module) -> int:
    """Images in a batch, so that memory is bounded: 2 to 64."""
    pairs = max(layer.pairs for layer in attention_layers(model))
    return max(2, min(64, MOST_PAIRS // pairs))


def batches(images: int, size: int) -> Sequence[Tensor]:
    """All images in a fixed random order, in parts of nearly equal size, so that neighbours are of any class."""
    order = torch.randperm(images, generator=torch.Generator().manual_seed(_SEED))
    return torch.tensor_split(order, max(1, math.ceil(images / size)))


def one_cycle(count: int, generator: torch.Generator) -> Tensor:
    """A random permutation of one cycle, so without a fixed point (Sattolo 1986)."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = int(torch.randint(last, (1,), generator=generator))
        order[last], order[other] = order[other], order[last]
    return torch.tensor(order)


@torch.no_grad()
def correct_under_changes(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: MeanWeights,
    *,
    has_scores: bool,
    lines: Callable[[], AbstractContextManager[None]] | None = None,
) -> dict[str, Array]:
    """Whether each image is classified correctly, 0 or 1, under each change.

    Args:
        model: in eval mode.
        images, labels: as in `Subject`.
        mean: with the weights of these images.
        has_scores: whether any head computes scores.
        lines: a context in which lines stand in place of the learned functions; None where there are none.
    """
    found = {name: np.zeros(len(images)) for name in (TRAINED, MEAN)}
    if has_scores and len(images) > 1:
        found |= {name: np.zeros(len(images)) for name in (SHUFFLED, BLIND)}
    if lines is not None:
        found[LINES] = np.zeros(len(images))
    generator = torch.Generator().manual_seed(_SEED)
    for part in batches(len(images), batch_size(model)):
        few, wanted = images[part], labels[part]
        for name in found:
            right = [
                answers == wanted for answers in _answers(model, few, name, mean, lines, generator)
            ]
            found[name][part.numpy()] = torch.stack(right).double().mean(0).numpy()
    return {name: found[name] for name in (TRAINED, SHUFFLED, BLIND, MEAN, LINES) if name in found}


def _answers(
    model: nn.Module,
    images: Tensor,
    name: str,
    mean: MeanWeights,
    lines: Callable[[], AbstractContextManager[None]] | None,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    """The classes that the model gives under a change; several for shuffled scores."""
    if name == SHUFFLED:
        scores = Scores()
        with observed(model, change_scores=scores.keep, record=False):
            model(images)
        for _ in range(SHUFFLES):
            scores.begin(one_cycle(len(images), generator))
            with observed(model, change_scores=scores.put, record=False):
                yield model(images).argmax(-1)
        return
    context: AbstractContextManager[object] = nullcontext()
    if name == BLIND:
        context = without_content(model)
    elif name == MEAN:
        mean.begin()
        context = observed(model, change_weights=mean.put, record=False)
    elif name == LINES:
        assert lines is not None
        context = lines()
    with context:
        if name == LINES:  # kernels know nothing of lines
            with observed(model, record=False):
                yield model(images).argmax(-1)
        else:
            yield model(images).argmax(-1)


def rates(correct: dict[str, Array]) -> Rates:
    """Accuracies and intervals of `correct_under_changes`."""
    from scipy import stats  # statsmodels has such intervals too, and takes 60 MB in every process

    base = correct[TRAINED]
    columns = []
    for name, own in correct.items():
        if name == SHUFFLED:
            low, high = _resampled(stats, own)
        else:
            low, high = stats.binomtest(int(own.sum()), len(own)).proportion_ci(method="wilson")
        columns.append((own.mean(), low, high, (own - base).mean(), *_resampled(stats, own - base)))
    accuracy, low, high, difference, difference_low, difference_high = np.array(columns).T
    return Rates(
        names=tuple(correct),
        accuracy=accuracy,
        low=low,
        high=high,
        difference=difference,
        difference_low=difference_low,
        difference_high=difference_high,
    )


def _resampled(stats: object, values: Array) -> tuple[float, float]:
    """The 95 % interval of a mean by resampling (percentiles)."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    found = stats.bootstrap(  # type: ignore[attr-defined]
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def has_scores(seen: Sequence[Seen]) -> bool:
    """Whether any head computes scores."""
    return any(each.scores is not None for each in seen)
