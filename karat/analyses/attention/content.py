"""How much of attention depends on what an image contains, and how much on positions alone.

Let A_i be the weights of a head for image i (of I), N x M, and V_i its values. Ā is the mean of A_i over the images,
which knows positions and no image. K has in place of each entry of Ā the mean of Ā over all pairs of its kind: a
patch and itself, a patch and another patch, a patch and the class token, and so on. K is all that a mixer without
positions can have in common to images whose patches may be exchanged.

    A_i = K + (Ā - K) + (A_i - Ā)            by kind of pair, by position, by content

The parts are orthogonal, so that shares of the second moment Σ_i |A_i|² (Frobenius norm) sum to 1:

    |K|² I / Σ_i |A_i|²,    |Ā - K|² I / Σ_i |A_i|²,    Σ_i |A_i - Ā|² / Σ_i |A_i|²

Content share of the weights:    Σ_i |A_i - Ā|² / (I |Ā - K|² + Σ_i |A_i - Ā|²)
Content share of the output:     Σ_i |(A_i - Ā) V_i|² / (Σ_i |(Ā - K) V_i|² + Σ_i |(A_i - Ā) V_i|²)

Both are 0 for a mixer that is the same for all images (also where nothing varies, as for uniform weights), and 1
for a mixer that knows no positions, if the images are closed under exchanges of patches. On images that are not,
contents differ by place (a dark border), and with them mean weights: position and what is typical there are not
told apart. Since Ā is of the same images, content shares are about 1/I too low.

The output `O_i = A_i V_i` varies also because values do. What of its variance over images mean weights keep:

    1 - Σ_i |O_i - Ā V_i|² / Σ_i |O_i - Ō|²,    and with K in place of Ā    1 - Σ_i |O_i - K V_i|² / Σ_i |O_i - Ō|²

1 for a mixer that is the same for all images; below 0 where mean weights are worse than the mean output Ō. For
Swin, an image's windows are positions; for differential attention the output is that before its norm.

Shapes: B images, W windows of an image, H heads, N tokens, M keys, D head width, L attention modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karat.models.layers import AttentionLayer
from karat.models.observing import Seen

Array = NDArray[np.float64]
NOTHING = 1e-10  # as a share of all: below it nothing varies but rounding


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What depends on content, for each attention module and head; NaN for heads that only other modules have.

    Args:
        moments: (L, H, 3), shares of the second moment of the weights by kind of pair, by position, by content.
        weights: (L, H), content share of the weights.
        output: (L, H), content share of the output.
        kept: (L, H, 2), the share of the output's variance over images that stays with K and with Ā; NaN where the
            output does not vary.
        variance: (L, H), of the output over images, as a sum of squares.
    """

    moments: Array
    weights: Array
    output: Array
    kept: Array
    variance: Array


class ContentShares:
    """Adds up what `Shares` needs, in two passes over the same images: `first` of all batches, then `second`."""

    def __init__(self) -> None:
        self._layers: list[_OfLayer] = []

    def first(self, seen: Sequence[Seen]) -> None:
        """Take the means and sums of squares of a batch."""
        if not self._layers:
            self._layers = [_OfLayer(each.layer) for each in seen]
        for own, each in zip(self._layers, seen, strict=True):
            own.first(*own.by_window(each))

    def second(self, seen: Sequence[Seen]) -> None:
        """Take the deviations from the means in a batch."""
        for own, each in zip(self._layers, seen, strict=True):
            own.second(*own.by_window(each))

    def found(self) -> Shares:
        """The shares."""
        each = [layer.found() for layer in self._layers]
        columns = zip(*each, strict=True)
        moments, weights, output, kept, variance = map(_stacked, columns)
        return Shares(moments=moments, weights=weights, output=output, kept=kept, variance=variance)


def _stacked(of_layers: Sequence[Array]) -> Array:
    """One array of all layers; NaN for heads that only other layers have (Swin)."""
    heads = max(map(len, of_layers))
    found = np.full((len(of_layers), heads, *of_layers[0].shape[1:]), np.nan)
    for own, values in zip(found, of_layers, strict=True):
        own[: len(values)] = values
    return found


def kinds_of_pairs(layer: AttentionLayer) -> Tensor:
    """A number for the kind of each pair of tokens, (N, M)."""
    prefix, tokens = layer.prefix_tokens, layer.num_tokens
    of_token = torch.arange(tokens).clamp(max=prefix)
    kinds = of_token[:, None] * (prefix + 1) + of_token
    is_itself = torch.eye(tokens, dtype=torch.bool) & (of_token == prefix)
    return torch.where(is_itself, (prefix + 1) ** 2, kinds)


def by_window(values: Tensor, layer: AttentionLayer) -> Tensor:
    """(B, W, ...) of (B W, ...): the windows of an image are consecutive."""
    return values.reshape(-1, layer.windows, *values.shape[1:])


class _OfLayer:
    def __init__(self, layer: AttentionLayer) -> None:
        self.layer, self.images = layer, 0
        self.sums: dict[str, Tensor] = {}

    def by_window(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Weights (B, W, H, N, M) and values (B, W, H, M, D), in float64."""
        return by_window(seen.weights.double(), self.layer), by_window(
            seen.values.double(), self.layer
        )

    def first(self, weights: Tensor, values: Tensor) -> None:
        self.images += len(weights)
        out = weights @ values
        self._add("weights", weights.sum(0))
        self._add("out", out.sum(0))
        self._add("weights²", _by_head(weights))
        self._add("out²", _by_head(out))

    def second(self, weights: Tensor, values: Tensor) -> None:
        mean = self.sums["weights"] / self.images
        kind = self._by_kind(mean)
        by_content = (weights - mean) @ values
        by_position = (mean - kind) @ values
        self._add("by content", _by_head(by_content))
        self._add("by position", _by_head(by_position))
        self._add("beyond kind", _by_head(by_content + by_position))
        self._add("weights by content", _by_head(weights - mean))

    def found(self) -> tuple[Array, ...]:
        mean = self.sums["weights"] / self.images
        kind = self._by_kind(mean)
        total = self.sums["weights²"]
        of_kind, of_position = (self.images * _by_head(each[None]) for each in (kind, mean - kind))
        of_content = self.sums["weights by content"]
        moments = torch.stack([of_kind, of_position, of_content], -1) / total[:, None]
        weights = _share(of_content, of_position, total)
        output = _share(self.sums["by content"], self.sums["by position"], self.sums["out²"])
        mean_out = self.sums["out"] / self.images
        variance = self.sums["out²"] - self.images * _by_head(mean_out[None])
        left = torch.stack([self.sums["beyond kind"], self.sums["by content"]], -1)
        varies = variance > NOTHING * self.sums["out²"]
        kept = torch.where(varies[:, None], 1 - left / variance[:, None], torch.nan)
        return tuple(each.numpy() for each in (moments, weights, output, kept, variance))

    def _by_kind(self, mean_WHNM: Tensor) -> Tensor:
        """K of Ā. Windows have one K, since they differ by position."""
        kinds = kinds_of_pairs(self.layer).flatten()
        windows, heads = mean_WHNM.shape[:2]
        flat = mean_WHNM.mean(0).flatten(1)
        sums = flat.new_zeros(heads, int(kinds.max()) + 1).index_add_(1, kinds, flat)
        counts = torch.bincount(kinds).clamp(min=1)
        found = (sums / counts)[:, kinds].reshape(mean_WHNM.shape[1:])
        return found.expand(windows, *found.shape)

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value


def _by_head(values_BWHXX: Tensor) -> Tensor:
    """Sum of squares of each head."""
    return values_BWHXX.square().sum((0, 1, 3, 4))


def _share(content: Tensor, position: Tensor, total: Tensor) -> Tensor:
    both = content + position
    return torch.where(both > NOTHING * total, content / both.clamp(min=1e-300), 0.0)
